"""Rendering: from a genome to an integer histogram of the points of its chaos game.

`compile_genome` turns a genome into a `Program`; `render` plays it on a CPU (numba) and `render_batch` plays many at
once with torch, or with Triton on CUDA devices. All renderers yield bit-equal histograms: open
`stellarfm.fractals.rendering.chaos_game` first, the specification that they share.
"""

from typing import Any

from stellarfm.fractals.rendering.cpu import choose_window, orbit, render
from stellarfm.fractals.rendering.program import FIXED_WINDOW, Program, Window, compile_genome

__all__ = ["FIXED_WINDOW", "Program", "Window", "choose_window", "compile_genome", "orbit", "render", "render_batch"]


def __getattr__(name: str) -> Any:
    """Import `render_batch`, which loads torch, on first use."""
    if name == "render_batch":
        from stellarfm.fractals.rendering.dispatch import render_batch

        return render_batch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
