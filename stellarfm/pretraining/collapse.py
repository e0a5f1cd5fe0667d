"""Detection of collapsed runs, with advice on what to change."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from stellarfm.exceptions import PretrainingError

__all__ = ["CollapseDetector", "CollapseLimits"]

#: Rows of the log over which monitors are averaged.
ROWS = 10
#: Smallest batch whose effective rank is meaningful.
MIN_IMAGES = 8
#: Monitors that are averaged.
MONITORS = ("dino", "rank", "spread")


@dataclass(frozen=True, kw_only=True)
class CollapseLimits:
    """Thresholds beyond which a run is stopped as collapsed (recipe table ``[monitors]``).

    Zero disables `rank`, `spread` and `stuck_rank`. With the defaults, a healthy run of 5000 steps
    (``benchmarks/results/pretraining-tiny8-64.csv``) passes: with ln K = 6.24 its DINO loss stayed between 5.7 and 6.2,
    while its effective rank rose from 3 to 18. A DINO loss near ln K is not a collapse by itself, because with many
    prototypes healthy runs start there.

    Attributes
    ----------
    rank : float
        Smallest effective rank of the features of a batch.
    spread : float
        Smallest spread of the normalized features; 1 is isotropic, 0 a single point.
    stuck : float
        Fraction of ln K above which the DINO loss counts as stuck ...
    stuck_rank : float
        ... if the effective rank is also below this value; random weights have 3 to 5.
    patience : int or None
        Number of steps in which a run may recover; None is a twentieth of all steps, at most 1000.
    settled : int or None
        Number of initial grace steps, which are not checked; None is a tenth of all steps, at most 1000, or the
        warm-up if that is longer.

    Examples
    --------
    >>> from stellarfm.pretraining.collapse import CollapseLimits
    >>> CollapseLimits.from_table({"rank": 2.0}).rank
    2.0
    """

    rank: float = 1.5
    spread: float = 0.02
    stuck: float = 0.98
    stuck_rank: float = 5.0
    patience: int | None = None
    settled: int | None = None

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            types = (int, type(None)) if each.name in ("patience", "settled") else (int, float)
            if isinstance(value, bool) or not isinstance(value, types) or (value is not None and not value >= 0):
                raise PretrainingError(f"{each.name} of [monitors] is {value!r}; expected a number of at least 0")

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> CollapseLimits:
        """Return the limits of a recipe's table; raise `PretrainingError` for an unknown key."""
        known = [each.name for each in dataclasses.fields(cls)]
        for name in table:
            if name not in known:
                raise PretrainingError(f"unknown key monitors.{name}; expected one of {', '.join(known)}")
        return cls(**table)


class CollapseDetector:
    """Decides from each row of a run's log whether the run has collapsed.

    Parameters
    ----------
    limits : CollapseLimits
        Thresholds.
    steps, warmup_steps : int
        Number of all steps and of the warm-up.
    images : int
        Number of images per batch; the effective rank cannot exceed it.
    prototypes : int, optional
        Number K of prototypes of the loss ``dino``; without it this loss is not checked.

    Attributes
    ----------
    since : int or None
        Step since which the run seems to have collapsed.

    Examples
    --------
    >>> from stellarfm.pretraining.collapse import CollapseDetector, CollapseLimits
    >>> detector = CollapseDetector(CollapseLimits(settled=0), steps=1000, warmup_steps=0, images=64)
    >>> detector.check({"loss": 5.0, "rank": 1.0, "spread": 0.5}, step=10)
    >>> detector.since
    10
    """

    def __init__(
        self, limits: CollapseLimits, *, steps: int, warmup_steps: int, images: int, prototypes: int | None = None
    ) -> None:
        self.limits = limits
        self.patience = min(steps // 20, 1000) if limits.patience is None else limits.patience
        self.grace_steps = max(warmup_steps, min(steps // 10, 1000)) if limits.settled is None else limits.settled
        self.stuck_rank = min(limits.stuck_rank, (images - 1) / 3)
        self.enough_images = images >= MIN_IMAGES
        self.log_prototypes = math.log(prototypes) if prototypes else None
        self.means: dict[str, float] = {}
        self.rows = 0
        self.since: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state with which a resumed run stops at the same step as an uninterrupted one."""
        return {"means": dict(self.means), "lines": self.rows, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        self.means, self.rows, self.since = dict(state["means"]), state["lines"], state["since"]

    def check(self, values: dict[str, float], *, step: int) -> None:
        """Check one row of the log.

        Parameters
        ----------
        values : dict
            Losses and monitors by name; ``dino``, ``rank`` and ``spread`` are checked if the method provides them.
        step : int
            Step of the row.

        Raises
        ------
        PretrainingError
            If a value is not finite, or if the features have been collapsed or the DINO loss has been stuck for longer
            than `CollapseLimits.patience`.
        """
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            raise PretrainingError(
                f"step {step}: {', '.join(broken)} is not finite; restart with a lower learning_rate, a longer "
                "warmup_steps or precision = '32-true'"
            )
        self._average(values)
        reason = self._reason() if self.enough_images and step > self.grace_steps else None
        self.since = None if reason is None else self.since or step
        if self.since is not None and step - self.since >= self.patience:
            raise PretrainingError(f"step {step}: {reason}")

    def _average(self, values: dict[str, float]) -> None:
        """Update the moving means of the monitors, because those of one batch are noisy."""
        self.rows += 1
        for name in MONITORS:
            if name in values:
                mean = self.means.get(name, values[name])
                self.means[name] = mean + (values[name] - mean) / min(self.rows, ROWS)

    def _reason(self) -> str | None:
        """Return why the run counts as collapsed and what to change, or None."""
        rank, spread = (self.means.get(name, math.inf) for name in ("rank", "spread"))
        if rank < self.limits.rank or spread < self.limits.spread:
            return (
                f"collapse: the features have effective rank {rank:.2g} (limit {self.limits.rank:g}) and spread "
                f"{spread:.2g} (limit {self.limits.spread:g}); raise koleo_weight, lower learning_rate, set "
                "centring = 'sinkhorn', or use images that differ more"
            )
        if (
            self.log_prototypes
            and self.means.get("dino", 0.0) > self.limits.stuck * self.log_prototypes
            and rank < self.stuck_rank
        ):
            return (
                f"nothing is learned: the DINO loss {self.means['dino']:.2f} is stuck at ln K = "
                f"{self.log_prototypes:.2f} and "
                f"the features have effective rank {rank:.2g} (limit {self.stuck_rank:.2g}); raise learning_rate, use "
                "fewer prototypes, a larger batch_size, or images with more structure"
            )
        return None
