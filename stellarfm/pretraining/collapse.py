"""The guard: tells a hopeless run from a slow one, and says what to change."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from stellarfm.exceptions import PretrainingError

__all__ = ["CollapseDetector", "CollapseLimits"]

#: Lines of the log over which the numbers are averaged before they are judged.
LINES = 10
#: Fewer images on a device have too small a rank for any judgement.
LEAST_IMAGES = 8
WATCHED = ("dino", "rank", "spread")


@dataclass(frozen=True, kw_only=True)
class CollapseLimits:
    """Beyond what a run is hopeless: the recipe's table ``[monitors]``. Zero for `rank`, `spread`, `stuck_rank` is off.

    The run of the bundled encoder (``benchmarks/results/pretraining-tiny8-64.csv``) must pass: with ln K = 6.24 its
    DINO loss stayed between 5.7 and 6.2, while its rank rose from 3 to 18. A DINO loss near ln K is no collapse by
    itself: with many prototypes a healthy run begins there.

    Attributes
    ----------
    rank : float
        Least effective rank of the features of a batch.
    spread : float
        Least spread of the normalised features; 1 is isotropic, 0 is a single point.
    stuck : float
        The DINO loss is stuck above this share of ln K ...
    stuck_rank : float
        ... if the effective rank is also below this; random weights have 3 to 5.
    patience : int or None
        Steps that a run is given to recover; None is a twentieth of all steps, at most 1000.
    settled : int or None
        First steps, which are not judged; None is a tenth of all steps, at most 1000, or the warm-up if it is longer.
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
            kinds = (int, type(None)) if each.name in ("patience", "settled") else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or (value is not None and not value >= 0):
                raise PretrainingError(f"{each.name} of [monitors] is {value!r}; expected a number, at least 0")

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> CollapseLimits:
        """Limits from a recipe's table; raises `PretrainingError` for a key that is not known."""
        known = [each.name for each in dataclasses.fields(cls)]
        for name in table:
            if name not in known:
                raise PretrainingError(f"unknown key monitors.{name}; expected one of {', '.join(known)}")
        return cls(**table)


class CollapseDetector:
    """Looks at each line of a run's log.

    Parameters
    ----------
    limits : Limits
        What is tolerated.
    steps, warmup_steps : int
        Of the run.
    images : int
        Images of a batch on one device: the rank cannot exceed their number.
    prototypes : int, optional
        The number K behind the loss ``dino``; without it the loss is not judged.

    Attributes
    ----------
    since : int or None
        Step since which the run looks hopeless.
    """

    def __init__(
        self, limits: CollapseLimits, *, steps: int, warmup_steps: int, images: int, prototypes: int | None = None
    ) -> None:
        self.limits = limits
        self.patience = min(steps // 20, 1000) if limits.patience is None else limits.patience
        self.settled = max(warmup_steps, min(steps // 10, 1000)) if limits.settled is None else limits.settled
        self.stuck_rank = min(limits.stuck_rank, (images - 1) / 3)
        self.judges = images >= LEAST_IMAGES
        self.ceiling = math.log(prototypes) if prototypes else None
        self.means: dict[str, float] = {}
        self.lines = 0
        self.since: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must remember to stop at the same step as an undisturbed one."""
        return {"means": dict(self.means), "lines": self.lines, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The opposite of `state_dict`."""
        self.means, self.lines, self.since = dict(state["means"]), state["lines"], state["since"]

    def check(self, values: dict[str, float], *, step: int) -> None:
        """Judge one line of the log.

        Parameters
        ----------
        values : dict
            Losses and monitors by name; ``dino``, ``rank`` and ``spread`` are looked at where a method gives them.
        step : int
            The step they belong to.

        Raises
        ------
        PretrainingError
            If a number is not finite; or if the features have collapsed, or the DINO loss has been stuck, for longer
            than the patience.
        """
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            raise PretrainingError(
                f"step {step}: {', '.join(broken)} is not finite; start anew with a lower learning_rate, a longer "
                "warmup_steps or precision = '32-true'"
            )
        self._average(values)
        reason = self._reason() if self.judges and step > self.settled else None
        self.since = None if reason is None else self.since or step
        if self.since is not None and step - self.since >= self.patience:
            raise PretrainingError(f"step {step}: {reason}")

    def _average(self, values: dict[str, float]) -> None:
        """Mean over the last lines, more or less: one batch says little."""
        self.lines += 1
        for name in WATCHED:
            if name in values:
                mean = self.means.get(name, values[name])
                self.means[name] = mean + (values[name] - mean) / min(self.lines, LINES)

    def _reason(self) -> str | None:
        """Why the run is hopeless, with what to change; None if it is not."""
        rank, spread = (self.means.get(name, math.inf) for name in ("rank", "spread"))
        if rank < self.limits.rank or spread < self.limits.spread:
            return (
                f"collapse: the features have effective rank {rank:.2g} (limit {self.limits.rank:g}) and spread "
                f"{spread:.2g} (limit {self.limits.spread:g}); raise koleo_weight, lower learning_rate, take "
                "centring = 'sinkhorn', or give images that differ more"
            )
        if self.ceiling and self.means.get("dino", 0.0) > self.limits.stuck * self.ceiling and rank < self.stuck_rank:
            return (
                f"nothing is learnt: the DINO loss {self.means['dino']:.2f} is stuck at ln K = {self.ceiling:.2f} and "
                f"the features have effective rank {rank:.2g} (limit {self.stuck_rank:.2g}); raise learning_rate, take "
                "fewer prototypes or a larger batch_size, or give images with more structure"
            )
        return None
