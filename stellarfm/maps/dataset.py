"""Windows around stars as a labelled dataset for pretraining: scaled images and log10 of the mass of the star."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stellarfm.contracts import IMAGE_CENTER, IMAGE_SCALE, LabelledDataset
from stellarfm.exceptions import MapError
from stellarfm.maps.map_set import MapSet
from stellarfm.maps.scaling import MapScaler
from stellarfm.maps.units import MAP_UNITS

__all__ = ["MapSetDataset", "held_out_windows"]

PARTS = ("train", "held-out", "all")
GROUPINGS = ("star", "simulation")


class _Windows(LabelledDataset):
    """Scaled windows, shifted to `IMAGE_CENTER` and `IMAGE_SCALE`, with log10 of the mass of their star."""

    label_names = ("log10 mass / solMass",)
    #: Outputs of `MapScaler` lie within -5 and 5.
    limits = (IMAGE_CENTER - 5.0 * IMAGE_SCALE, IMAGE_CENTER + 5.0 * IMAGE_SCALE)

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images = images
        self._labels = labels

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> np.ndarray:
        """Return window number `index`: float32, shape (channels, size, size)."""
        return self._images[index] * np.float32(IMAGE_SCALE) + np.float32(IMAGE_CENTER)

    def label(self, index: int) -> np.ndarray:
        """Return log10 of the mass of the star of window `index`, in solMass, shape (1,)."""
        return self._labels[index].copy()


class MapSetDataset(_Windows):
    """Windows of map sets: column density, velocity and dispersion as images, log10 of the mass of the star as label.

    Stars (or simulations) are split into folds, and one fold is held out: no window of its stars is used for training
    or to fit the scaler. The split depends on `seed` alone.

    Parameters
    ----------
    path : str or list of str
        Map sets (HDF5) with masses.
    size : int
        Side of the images in pixels; larger windows are cropped around their center.
    seed : int
        Seed of the folds and of the order of the windows.
    channels : int
        Number of channels, the first of: log column density, velocity, log velocity dispersion.
    part : {"train", "held-out", "all"}
        All folds but the held-out one, the held-out fold, or all windows.
    by : {"star", "simulation"}
        Unit of the split.
    folds : int
        Number of folds; with as many folds as simulations, each simulation is held out once.
    fold : int
        Index of the held-out fold, from 0.
    column_reference, dispersion_reference : {"set", "window"}
        Options of `stellarfm.maps.MapScaler`.

    Raises
    ------
    InputNotFoundError, ReaderError
        If a file is missing or is not a map set.
    MapError
        If there are no masses, windows are smaller than `size`, or an option does not fit.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.maps import MapSet
    >>> from stellarfm.maps.dataset import MapSetDataset
    >>> ones = np.ones((10, 8, 8))
    >>> windows = MapSet(
    ...     column_density=1e22 * ones * u.cm**-2,
    ...     velocity=ones * u.km / u.s,
    ...     velocity_dispersion=ones * u.km / u.s,
    ...     stars=QTable({"star": np.arange(10), "mass": np.ones(10) * u.solMass}),
    ...     pixel_scale=0.01 * u.pc,
    ...     label_kind="star",
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "maps.h5")
    ...     windows.write(path)
    ...     dataset = MapSetDataset(path=str(path), size=8)
    >>> len(dataset), len(dataset.held_out()), dataset.image(0).shape
    (8, 2, (3, 8, 8))
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
        windows = _crop(_read(path), size)
        held = held_out_windows(windows, by=by, folds=folds, fold=fold, seed=seed)
        chosen = {"train": ~held, "held-out": held, "all": np.ones_like(held)}[part]
        scaler = MapScaler(column_reference=column_reference, dispersion_reference=dispersion_reference)
        scaler.fit(windows[~held] if part != "all" else windows)
        self._rest = _scaled(windows[held], scaler, channels) if part == "train" else None
        images, labels = _scaled(windows[chosen], scaler, channels)
        order = np.random.default_rng(seed).permutation(len(images))
        super().__init__(images[order], labels[order])

    def held_out(self) -> LabelledDataset | None:
        """Return the windows of the held-out fold; None unless `part` is ``"train"``."""
        return None if self._rest is None else _Windows(*self._rest)

    @staticmethod
    def _check(part: str, by: str, folds: int, fold: int, channels: int) -> None:
        for name, value, known in (("part", part, PARTS), ("by", by, GROUPINGS)):
            if value not in known:
                raise MapError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        if folds < 2 or not 0 <= fold < folds:
            raise MapError(f"fold {fold} of {folds} folds; expected folds of at least 2 and fold from 0 to folds - 1")
        if not 1 <= channels <= 3:
            raise MapError(f"channels is {channels}; expected 1 to 3")


def _read(path: str | os.PathLike | Sequence[str]) -> MapSet:
    """Read and concatenate all files; raise `MapError` if they have no masses."""
    paths = [path] if isinstance(path, str | os.PathLike) else path
    windows = MapSet.concatenate([MapSet.read(Path(each)) for each in paths])
    if windows.label_kind is None:
        raise MapError(f"{', '.join(map(str, paths))}: no masses; expected a map set whose stars have known masses")
    return windows


def _crop(windows: MapSet, size: int) -> MapSet:
    """Crop every window to `size` pixels around its center; the star stays in pixel ``size // 2``."""
    side = min(windows.column_density.shape[1:])
    if size > side:
        raise MapError(f"size is {size}, the windows have {side} pixels; expected at most {side}")
    rows, columns = (slice(n // 2 - size // 2, n // 2 - size // 2 + size) for n in windows.column_density.shape[1:])
    maps = {name: getattr(windows, name)[:, rows, columns] for name in MAP_UNITS}
    return replace(windows, **maps, cell_size=None)


def held_out_windows(windows: MapSet, *, by: str = "star", folds: int = 5, fold: int = 0, seed: int = 0) -> np.ndarray:
    """Return True for the windows that `MapSetDataset` holds out with the same options.

    Parameters
    ----------
    windows : MapSet
        N windows.
    by : {"star", "simulation"}
        Unit of the split.
    folds, fold : int
        Number of folds and index of the held-out one.
    seed : int
        Seed of the split.

    Returns
    -------
    ndarray
        Boolean, shape (N,).

    Raises
    ------
    MapError
        If there are fewer stars (or simulations) than folds.
    """
    groups = windows.groups if by == "star" else windows.simulations
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    if len(names) < folds:
        raise MapError(f"{folds} folds of {len(names)} groups; expected at most {len(names)} folds")
    return np.isin(groups, names[fold::folds])


def _scaled(windows: MapSet, scaler: MapScaler, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scaled images, shape (N, channels, size, size), and log10 masses, shape (N, 1), float32."""
    mass = np.log10(windows.stars["mass"].to_value("solMass"))
    return scaler.transform(windows)[:, :channels], mass.astype(np.float32)[:, None]
