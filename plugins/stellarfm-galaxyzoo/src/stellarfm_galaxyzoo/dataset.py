"""The dataset `galaxyzoo`: images of a catalogue, with the votes of volunteers as labels."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from stellarfm.contracts import LabelledDataset
from stellarfm_galaxyzoo.catalogue import Catalogue
from stellarfm_galaxyzoo.exceptions import CatalogueError
from stellarfm_galaxyzoo.images import read_image
from stellarfm_galaxyzoo.schema import CAMPAIGNS, Schema

__all__ = ["EXAMPLE", "GalaxyZoo"]

#: Name of the catalogue of a few synthetic galaxies that is part of this package.
EXAMPLE = "example"


class GalaxyZoo(LabelledDataset):
    """Galaxies of a catalogue (see `stellarfm_galaxyzoo.Catalogue`), with or without votes.

    Parameters
    ----------
    catalogue : str
        Path of any table that astropy reads, or ``"example"``: a few synthetic galaxies of this package.
    size : int
        Side of the images in pixels.
    seed : int
        Seed of the order of the galaxies.
    channels : int
        Number of channels.
    schema : sequence of str
        Campaigns or TOML files, see `stellarfm_galaxyzoo.Schema.load`.
    root : str, optional
        Folder of the images; the folder of the catalogue by default.
    subset : {"all", "labelled"}
        Use of all galaxies, or only of those with votes.
    count : int, optional
        Number of galaxies to use, in the order of `seed` (a label budget); all by default.
    scales : sequence of float, optional
        Scales of FITS bands, see `stellarfm_galaxyzoo.images.asinh_stretch`.
    softening : float
        Softening of the stretch of FITS bands.

    Raises
    ------
    InputNotFoundError
        If the catalogue or images are missing.
    CatalogueError
        If the catalogue is invalid or has fewer galaxies than `count`.

    Examples
    --------
    >>> from stellarfm_galaxyzoo import GalaxyZoo
    >>> dataset = GalaxyZoo(catalogue="example", size=32)
    >>> len(dataset), dataset.image(0).shape
    (8, (3, 32, 32))
    """

    def __init__(
        self,
        *,
        catalogue: str = EXAMPLE,
        size: int = 128,
        seed: int = 0,
        channels: int = 3,
        schema: Sequence[str] = CAMPAIGNS,
        root: str | None = None,
        subset: str = "all",
        count: int | None = None,
        scales: Sequence[float] | None = None,
        softening: float = 8.0,
    ) -> None:
        if subset not in ("all", "labelled"):
            raise CatalogueError(f"subset is {subset!r}; expected 'all' or 'labelled'")
        self.size, self.seed, self.channels = size, seed, channels
        self.scales, self.softening = scales, softening
        self.schema = Schema.load(*schema)
        self.label_names = self.schema.columns
        path = (
            resources.files("stellarfm_galaxyzoo") / "example" / "catalogue.csv" if catalogue == EXAMPLE else catalogue
        )
        found = Catalogue.read(Path(str(path)), self.schema, root=root).require_images()
        rows = np.random.default_rng(seed).permutation(len(found))
        if subset == "labelled":
            rows = rows[found.labelled[rows]]
        if not len(rows) or (count is not None and not 1 <= count <= len(rows)):
            raise CatalogueError(
                f"count is {count}, but {found.name} has {len(rows)} galaxies (subset {subset!r}); expected "
                "at least 1 and at most as many"
            )
        self.catalogue = found[rows[:count]]

    def __len__(self) -> int:
        return len(self.catalogue)

    def image(self, index: int) -> np.ndarray:
        """Return image number `index`: float32 in [0, 1], shape (channels, size, size)."""
        return read_image(
            self.catalogue.paths[index],
            size=self.size,
            channels=self.channels,
            scales=self.scales,
            softening=self.softening,
        )

    def label(self, index: int) -> np.ndarray:
        """Return the votes on galaxy `index`: float32, shape (answers,)."""
        return self.catalogue.votes[index].copy()
