"""StellarModel: masses and segments from maps of gas."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from stellarfm import __version__
from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import DEFAULT_POOLING, Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.estimation import estimate_windows
from stellarfm.inference.masses.mass_head import MassHead, default_regressor
from stellarfm.inference.masses.regression import MassRegressor
from stellarfm.inference.segmentation.patch_distribution import PatchDistribution
from stellarfm.inference.segmentation.segment import segment_maps
from stellarfm.inference.segmentation.segmentation_map import Segmentation
from stellarfm.inference.serialization import ModelParts, part_options, read_model, short_card, write_model
from stellarfm.maps import GasMaps, MapScaler, MapSet, column_peaks, windows_around
from stellarfm.provenance import build_date

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable

__all__ = ["StellarModel"]

logger = logging.getLogger("stellarfm")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StellarModel(ModelParts):
    """Masses and segments from maps of gas; made by `fit` or `load`.

    Attributes
    ----------
    embedder : Embedder
        Windows to features: encoder, scaler, readout, and size and scale of a window.
    head : MassHead
        Features to masses, with intervals.
    patch_distribution : PatchDistribution
        Distribution of the patch features of the reference windows.
    depth : Quantity
        Length of the line of sight through the reference windows, pc; NaN if unknown.
    label_kind : {"sink", "star"}
        Kind of the masses.
    sha256 : str
        Hash of the model directory; empty for a model that has not been saved.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps
    >>> model = StellarModel.load()
    >>> maps, stars = GasMaps.read(EXAMPLE_FIELD), QTable.read(EXAMPLE_FIELD, hdu="STARS")
    >>> masses = model.estimate(maps, sources=stars[:2])
    >>> masses["mass"].unit, masses.meta["label_kind"]
    (Unit("solMass"), 'sink')
    """

    sha256: str = ""

    def __repr__(self) -> str:
        """Return encoder, windows, reference set and hash in a few lines."""
        embedder, reference = self.embedder, self.head.summary()
        return (
            f"StellarModel(encoder={embedder.encoder.name!r}, readout={embedder.readout},\n"
            f"  windows of {embedder.pixels} pixels of {embedder.pixel_scale:.4g}, {self.label_kind} masses,\n"
            f"  reference set of {reference['windows']} windows of {reference['stars']} stars,\n"
            f"  sha256={self.sha256[:16] or 'not saved'!r})"
        )

    @classmethod
    def fit(
        cls,
        mapset: MapSet,
        *,
        encoder: str | os.PathLike = "bundled",
        scaler: MapScaler | None = None,
        readout: Readout | None = None,
        regressor: MassRegressor | None = None,
        intervals: StarConformal | None = None,
        calibration_by: str = "star",
        seed: int = 0,
    ) -> StellarModel:
        """Fit a model to windows of stars of known mass; the encoder stays as it is.

        Parameters
        ----------
        mapset : MapSet
            Windows of stars of known mass, of one label kind; several sets are joined by `MapSet.concatenate`.
        encoder : str or path
            Encoder, as for `FrozenEncoder.resolve`: the bundled one, the output of a pretraining run, a model, or a
            registered name (random weights).
        scaler, readout, regressor, intervals : optional
            Unfitted parts with their options; by default those of the bundled model.
        calibration_by : {"star", "simulation"}
            Unit that is held out whole to calibrate the intervals. An observed cloud differs from the reference as
            one simulation differs from the others, but ``"simulation"`` needs several of similar size: of two, the
            smaller one cannot predict the larger.
        seed : int
            Seed of random weights, and of the choice of windows for the patch distribution.

        Raises
        ------
        ModelError, MapError, InputNotFoundError, PluginError
            If the windows have no masses or are not square, a part does not fit, or the encoder is not found.
        """
        n_y, n_x = mapset.column_density.shape[1:]
        if mapset.label_kind is None:
            raise ModelError("the map set has no label kind, so no masses to learn from; expected 'sink' or 'star'")
        if n_y != n_x:
            raise ModelError(f"windows of {n_y} x {n_x} pixels; expected square ones")
        embedder = Embedder(
            FrozenEncoder.resolve(encoder, image_size=n_x, seed=seed).half_precision(),
            scaler or MapScaler(),
            readout or Readout(pooling=DEFAULT_POOLING),
            pixels=n_x,
            pixel_scale=mapset.pixel_scale,
        ).fit(mapset)
        head = MassHead(regressor or default_regressor(), intervals or StarConformal(), calibration_by).fit(
            embedder.features(mapset),
            np.asarray(mapset.stars["mass"].to_value(u.solMass), dtype=np.float64),
            stars=np.asarray(mapset.stars["star"]).astype(str),
            simulations=mapset.simulations,
            blocks=embedder.block_lengths,
            refit_features=lambda kept: embedder.fit(mapset[kept]).features(mapset),
        )
        return cls(
            embedder=embedder,
            head=head,
            patch_distribution=PatchDistribution.from_windows(embedder, mapset, seed=seed),
            depth=mapset.depth,
            label_kind=mapset.label_kind,
        )

    def features(self, windows: MapSet) -> np.ndarray:
        """Return feature vectors of windows, shape (N, D), float32; see `Embedder.features`."""
        return self.embedder.features(windows)

    def estimate(
        self,
        maps: MapSet | GasMaps,
        *,
        sources: SkyCoord | QTable | None = None,
        levels: Sequence[float] = (0.68, 0.95),
        min_coverage: float = 0.8,
    ) -> QTable:
        """Return the masses of the stars in `maps`.

        Parameters
        ----------
        maps : MapSet or GasMaps
            Star-centered windows, or a field with a known distance.
        sources : SkyCoord or QTable, optional
            Positions of the stars of a field; by default the peaks of its column density.
        levels : sequence of float
            Probabilities of the intervals.
        min_coverage : float
            Fraction of usable pixels below which a window is flagged.

        Returns
        -------
        QTable
            Masses as described in `stellarfm.inference.masses.mass_table.mass_table`, with provenance in its ``meta``.

        Raises
        ------
        MapError, ModelError
            If there is no star, the distance is unknown, or the windows do not fit the model.
        """
        windows = self._windows(maps, sources) if isinstance(maps, GasMaps) else maps
        independent = isinstance(maps, GasMaps)
        table = estimate_windows(
            self.embedder, self.head, windows, levels=levels, min_coverage=min_coverage, independent=independent
        )
        table.meta.update(self.provenance())
        if isinstance(maps, GasMaps):
            table.meta.update(maps.provenance())
            if sources is None:
                table.add_column(np.full(len(table), "candidate"), name="source_kind", index=1)
                table.meta["sources"] = "candidates: peaks of the column density, not known to be stars"
        return table

    def segment(
        self, maps: MapSet | GasMaps, *, segments: int = 6, pixel_scale: u.Quantity | None = None, seed: int = 0
    ) -> Segmentation:
        """Return segments of similar gas; see `stellarfm.inference.segmentation.segment.segment_maps`."""
        segmentation = segment_maps(
            self.embedder, self.patch_distribution, maps, segments=segments, pixel_scale=pixel_scale, seed=seed
        )
        origin = maps.provenance() if isinstance(maps, GasMaps) else {}
        return replace(segmentation, meta={**self.provenance(), **segmentation.meta, **origin})

    def _windows(self, maps: GasMaps, sources: SkyCoord | QTable | None) -> MapSet:
        """Return star-centered windows of a field."""
        if sources is None:
            sources = column_peaks(maps)
            logger.info(
                "no list of sources: %d peaks of the column density are candidates, not known stars", len(sources)
            )
        return windows_around(maps, sources, pixels=self.embedder.pixels, pixel_scale=self.embedder.pixel_scale)

    def provenance(self) -> dict[str, str]:
        """Return what identifies this model in the meta data of a result."""
        return {
            "label_kind": self.label_kind,
            "stellarfm_version": __version__,
            "encoder": self.embedder.encoder.name,
            "model_sha256": self.sha256 or "not saved",
            "options": json.dumps(part_options(self)),
            **build_date(),
        }

    def save(self, directory: str | os.PathLike, *, overwrite: bool = False) -> StellarModel:
        """Write the model directory, whole or not at all, and return the model with its hash.

        Raises
        ------
        OutputExistsError
            If the directory exists and `overwrite` is False.
        """
        return replace(self, sha256=write_model(self, directory, overwrite=overwrite))

    @classmethod
    def load(cls, directory: str | os.PathLike | None = None) -> StellarModel:
        """Read the model in `directory`, by default the bundled one.

        Raises
        ------
        InputNotFoundError, ModelError, PluginError
            If something is missing, altered or not installed; nothing in the directory is executed.
        """
        parts, sha256 = read_model(directory)
        return cls(**vars(parts), sha256=sha256)

    def card(self) -> str:
        """Return a short model card in Markdown."""
        return short_card(self)
