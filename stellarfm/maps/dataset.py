"""Windows around stars as a dataset for training: scaled images, and the star's mass as their label."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stellarfm.contracts import LabelledDataset
from stellarfm.exceptions import MapError
from stellarfm.maps.map_set import MapSet
from stellarfm.maps.scaling import MapScaler
from stellarfm.maps.units import MAP_UNITS

__all__ = ["MapSetDataset", "held_out_windows"]

PARTS = ("train", "held-out", "all")
GROUPINGS = ("star", "simulation")
#: Images hold 0.5 for the centre and 0.2 a unit of the scaler, which gives values from -5 to 5.
CENTRE, SPREAD = 0.5, 0.2


class _Windows(LabelledDataset):
    """Scaled windows with the logarithm of their star's mass."""

    label_names = ("log10 mass / solMass",)
    limits = (CENTRE - 5.0 * SPREAD, CENTRE + 5.0 * SPREAD)

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images = images
        self._labels = labels

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> np.ndarray:
        """Window number `index`, scaled: float32, shape (channels, size, size)."""
        return self._images[index] * np.float32(SPREAD) + np.float32(CENTRE)

    def label(self, index: int) -> np.ndarray:
        """Log10 of the mass of its star in solMass, shape (1,)."""
        return self._labels[index].copy()


class MapSetDataset(_Windows):
    """Windows of map sets: column density, velocity and dispersion as images, log10 of the star's mass as label.

    Stars (or simulations) are split into folds, and one fold is held out: no window of its stars is ever given, and the
    scaler has not seen them. Which those are depends on `seed` alone.

    Parameters
    ----------
    path : str or list of str
        Map sets (HDF5) with masses.
    size : int
        Side in pixels; the middle of larger windows is taken.
    seed : int
        Of the folds, and of the order.
    channels : int
        The first of: log column density, velocity, log velocity dispersion.
    part : {"train", "held-out", "all"}
        All folds but one, that one, or everything.
    by : {"star", "simulation"}
        What is split.
    folds, fold : int
        Number of folds, and which is held out; as many folds as simulations leave one of these out.
    column_reference, dispersion_reference : {"set", "window"}
        See `stellarfm.maps.MapScaler`.

    Raises
    ------
    InputNotFoundError, ReaderError
        If a file is missing or is no map set.
    MapError
        If there are no masses, windows are smaller than `size`, or an option does not fit.
    """

    def __init__(
        self,
        *,
        path: str | list[str],
        size: int = 64,
        seed: int = 0,
        channels: int = 3,
        part: str = "train",
        by: str = "star",
        folds: int = 5,
        fold: int = 0,
        column_reference: str = "set",
        dispersion_reference: str = "set",
    ) -> None:
        self.seed = seed
        self._check(part, by, folds, fold, channels)
        windows = _middle(_read(path), size)
        held = held_out_windows(windows, by=by, folds=folds, fold=fold, seed=seed)
        chosen = {"train": ~held, "held-out": held, "all": np.ones_like(held)}[part]
        scaler = MapScaler(column_reference=column_reference, dispersion_reference=dispersion_reference)
        scaler.fit(windows[~held] if part != "all" else windows)
        self._rest = _scaled(windows[held], scaler, channels) if part == "train" else None
        images, labels = _scaled(windows[chosen], scaler, channels)
        order = np.random.default_rng(seed).permutation(len(images))
        super().__init__(images[order], labels[order])

    def held_out(self) -> LabelledDataset | None:
        """The windows of the fold that was held out; None unless this is the other part."""
        return None if self._rest is None else _Windows(*self._rest)

    @staticmethod
    def _check(part: str, by: str, folds: int, fold: int, channels: int) -> None:
        for name, value, known in (("part", part, PARTS), ("by", by, GROUPINGS)):
            if value not in known:
                raise MapError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        if folds < 2 or not 0 <= fold < folds:
            raise MapError(f"fold {fold} of {folds} folds; expected at least 2 folds and one of them, from 0 on")
        if not 1 <= channels <= 3:
            raise MapError(f"channels is {channels}; expected 1 to 3")


def _read(path: str | os.PathLike | Sequence[str]) -> MapSet:
    """All windows of the files, with masses."""
    paths = [path] if isinstance(path, str | os.PathLike) else path
    windows = MapSet.concatenate([MapSet.read(Path(each)) for each in paths])
    if windows.label_kind is None:
        raise MapError(f"{', '.join(map(str, paths))}: no masses; expected a map set whose stars have known masses")
    return windows


def _middle(windows: MapSet, size: int) -> MapSet:
    """The middle `size` pixels of every window; the star stays in pixel ``size // 2``."""
    side = min(windows.column_density.shape[1:])
    if size > side:
        raise MapError(f"size is {size}, the windows have {side} pixels; expected at most {side}")
    rows, columns = (slice(n // 2 - size // 2, n // 2 - size // 2 + size) for n in windows.column_density.shape[1:])
    maps = {name: getattr(windows, name)[:, rows, columns] for name in MAP_UNITS}
    return replace(windows, **maps, cell_size=None)


def held_out_windows(windows: MapSet, *, by: str = "star", folds: int = 5, fold: int = 0, seed: int = 0) -> np.ndarray:
    """True for the windows that `MapSetDataset` holds out with the same options, shape (N,)."""
    groups = windows.groups if by == "star" else np.asarray(windows.stars["simulation"]).astype(str)
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    if len(names) < folds:
        raise MapError(f"{folds} folds of {len(names)} groups; expected at most {len(names)} folds")
    return np.isin(groups, names[fold::folds])


def _scaled(windows: MapSet, scaler: MapScaler, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, channels, size, size) in the scaler's units, and log10 masses (N, 1), float32."""
    mass = np.log10(windows.stars["mass"].to_value("solMass"))
    return scaler.transform(windows)[:, :channels], mass.astype(np.float32)[:, None]
