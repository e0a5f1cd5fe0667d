"""Schedules: plain functions of the step, so that a resumed run needs no state to continue them."""

from __future__ import annotations

import math

__all__ = ["cosine", "linear", "warmup_cosine"]


def linear(step: int, *, start: float, end: float, steps: int) -> float:
    """Straight line from `start` at step 0 to `end` at step `steps`, constant afterwards."""
    if step >= steps:
        return end
    return start + (end - start) * step / steps


def cosine(step: int, *, start: float, end: float, steps: int) -> float:
    """Half a cosine from `start` at step 0 to `end` at step `steps`, constant afterwards.

    ``end + (start - end) (1 + cos(pi step / steps)) / 2`` (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5).
    """
    if step >= steps:
        return end
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * step / steps))


def warmup_cosine(step: int, *, peak: float, end: float, warmup_steps: int, steps: int) -> float:
    """Straight rise to `peak` over `warmup_steps`, then half a cosine down to `end` at `steps`.

    The first step already has ``peak / warmup_steps``: a step at rate zero would be wasted.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return cosine(step - warmup_steps, start=peak, end=end, steps=steps - warmup_steps)
