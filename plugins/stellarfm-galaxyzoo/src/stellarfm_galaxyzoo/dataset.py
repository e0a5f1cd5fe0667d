"""The dataset `galaxyzoo`: images of a catalogue, with volunteers' votes where there are any."""

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

#: Name that stands for the few synthetic galaxies in this package.
EXAMPLE = "example"


class GalaxyZoo(LabelledDataset):
    """Galaxies of a catalogue (see `stellarfm_galaxyzoo.Catalogue`); those without votes are simply unlabelled.

    Parameters
    ----------
    catalogue : str
        Any table that astropy reads; ``"example"`` are a few synthetic galaxies that come with this package.
    size : int
        Side of the images in pixels.
    seed : int
        Of the order of the galaxies.
    channels : int
        Number of channels.
    schema : sequence of str
        Campaigns or TOML files, see `stellarfm_galaxyzoo.Schema.load`.
    root : str, optional
        Folder of the images; by default that of the catalogue.
    subset : {"all", "labelled"}
        All galaxies, or those with votes alone.
    count : int, optional
        Only the first so many galaxies, in the order of `seed`: a label budget.
    scales : sequence of float, optional
        Of FITS bands, see `stellarfm_galaxyzoo.images.asinh_stretch`.
    softening : float
        Of the stretch of FITS bands.

    Raises
    ------
    InputNotFoundError
        If the catalogue or images are missing.
    CatalogueError
        If the catalogue makes no sense, or holds fewer galaxies than asked for.
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
            raise CatalogueError(f"{found.name} offers {len(rows)} galaxies (subset {subset!r}); {count} are asked for")
        self.catalogue = found[rows[:count]]

    def __len__(self) -> int:
        return len(self.catalogue)

    def image(self, index: int) -> np.ndarray:
        """Image number `index`: float32 in [0, 1], shape (channels, size, size)."""
        return read_image(
            self.catalogue.paths[index],
            size=self.size,
            channels=self.channels,
            scales=self.scales,
            softening=self.softening,
        )

    def label(self, index: int) -> np.ndarray:
        """Votes on galaxy `index`: float32, shape (answers,)."""
        return self.catalogue.votes[index].copy()
