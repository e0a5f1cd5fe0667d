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

from stellarfm import __version__, registry
from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import DEFAULT_POOLING, Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.analogues import find_analogues
from stellarfm.inference.masses.calibrated_head import DEFAULT_HEAD, CalibratedHead
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.estimation import estimate_windows
from stellarfm.inference.masses.familiarity import Familiarity
from stellarfm.inference.masses.priors import MassPrior
from stellarfm.inference.masses.reference_set import FIELD, ReferenceSet, depth_class
from stellarfm.inference.segmentation.patch_distribution import PatchDistribution
from stellarfm.inference.segmentation.segment import segment_maps
from stellarfm.inference.segmentation.segmentation_map import Segmentation
from stellarfm.inference.serialization import ModelParts, part_options, read_model, short_card, write_model
from stellarfm.maps import GasMaps, MapScaler, MapSet, column_peaks, windows_around
from stellarfm.provenance import build_date

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable, Table

    from stellarfm.contracts import MassHead
    from stellarfm.inference.masses.distribution import MassDistribution
    from stellarfm.inference.selection import Selection

__all__ = ["StellarModel"]

logger = logging.getLogger("stellarfm")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StellarModel(ModelParts):
    """Masses and segments from maps of gas; made by `fit` or `load`.

    Attributes
    ----------
    embedder : Embedder
        Windows to features: encoder, scaler, readout, and size and scale of a window.
    head : CalibratedHead
        Features to distributions of mass.
    familiarity : dict of str to Familiarity
        Comparison of the maps of windows with those of the reference set, for each depth class.
    patch_distribution : PatchDistribution or None
        Distribution of the patch features of the reference windows; None without an encoder.
    label_kind : {"sink", "star"}
        Kind of the masses.
    selection : Selection or None
        Comparison by which encoder, readout and head were chosen, if any.
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
        encoder = embedder.encoder and embedder.encoder.name
        return (
            f"StellarModel(encoder={encoder!r}, readout={embedder.readout}, head={self.head.head},\n"
            f"  windows of {embedder.pixels} pixels of {embedder.pixel_scale:.4g}, {self.label_kind} masses,\n"
            f"  reference set of {reference['windows']} windows of {reference['stars']} stars,\n"
            f"  sha256={self.sha256[:16] or 'not saved'!r})"
        )

    @classmethod
    def fit(
        cls,
        mapsets: MapSet | Sequence[MapSet],
        *,
        encoder: str | os.PathLike | None = "bundled",
        scaler: MapScaler | None = None,
        readout: Readout | None = None,
        head: str | MassHead = DEFAULT_HEAD,
        conformal: StarConformal | None = None,
        calibration_by: str = "star",
        selection: Selection | None = None,
        seed: int = 0,
    ) -> StellarModel:
        """Fit a model to windows of stars of known mass; the encoder stays as it is.

        Parameters
        ----------
        mapsets : MapSet or sequence of MapSet
            Windows of stars of known mass, of one label kind, size and scale. Sets may differ in depth: one head is
            fitted to all, and each depth class (`depth_class`) is calibrated with its own windows. Windows of one
            simulation and star are kept together, whatever their depth.
        encoder : str, path or None
            Encoder, as for `FrozenEncoder.resolve`: the bundled one, the output of a pretraining run, a model, or a
            registered name (random weights). None for no encoder, with the readout ``"statistics"``; such a model
            cannot segment.
        scaler, readout : optional
            Unfitted parts with their options; by default those of the bundled model.
        head : str or MassHead
            Registered name of a head, or an unfitted one with its options.
        conformal : StarConformal, optional
            Unfitted calibration with its options.
        calibration_by : {"star", "simulation"}
            Unit that is held out whole to calibrate the intervals. An observed cloud differs from the reference set as
            one simulation differs from the others, but ``"simulation"`` needs several of similar size: of two, the
            smaller one cannot predict the larger.
        selection : Selection, optional
            Result of `stellarfm.inference.select` for these map sets, which is stored in the model. Its choice replaces
            `encoder`, `readout` and `head`.
        seed : int
            Seed of random weights, and of the choice of windows for the patch distribution.

        Raises
        ------
        ModelError, MapError, InputNotFoundError, PluginError
            If the windows have no masses or are not square, a part does not fit, or the encoder is not found.
        """
        sets = [mapsets] if isinstance(mapsets, MapSet) else list(mapsets)
        if selection is not None:
            chosen = selection.chosen
            encoder, readout, head = chosen.encoder, chosen.readout, chosen.head
        windows = MapSet.concatenate(sets)
        n_y, n_x = windows.column_density.shape[1:]
        if windows.label_kind is None:
            raise ModelError("the map set has no label kind, so no masses to learn from; expected 'sink' or 'star'")
        if n_y != n_x:
            raise ModelError(f"windows of {n_y} x {n_x} pixels; expected square ones")
        embedder = Embedder(
            encoder if encoder is None else FrozenEncoder.resolve(encoder, image_size=n_x, seed=seed).half_precision(),
            scaler or MapScaler(),
            readout or Readout(pooling=DEFAULT_POOLING),
            pixels=n_x,
            pixel_scale=windows.pixel_scale,
        ).fit(windows)
        calibrated = CalibratedHead(
            head=registry.create("heads", head) if isinstance(head, str) else head,
            conformal=conformal or StarConformal(),
            calibration_by=calibration_by,
        ).fit(
            ReferenceSet.from_windows(np.concatenate([embedder.features(one) for one in sets]), sets),
            blocks=embedder.block_lengths,
            refit_features=lambda kept: embedder.fit(windows[kept]).features(windows),
        )
        kinds = np.repeat([depth_class(one) for one in sets], [len(one) for one in sets])
        return cls(
            embedder=embedder,
            head=calibrated,
            familiarity={name: Familiarity().fit(windows[kinds == name]) for name in np.unique(kinds).tolist()},
            patch_distribution=None
            if encoder is None
            else PatchDistribution.from_windows(embedder, windows, seed=seed),
            label_kind=windows.label_kind,
            selection=selection,
        )

    def features(self, windows: MapSet) -> np.ndarray:
        """Return feature vectors of windows, shape (N, D), float32; see `Embedder.features`."""
        return self.embedder.features(windows)

    def estimate(
        self,
        maps: MapSet | GasMaps,
        *,
        sources: SkyCoord | QTable | None = None,
        levels: Sequence[float] = (0.68, 0.9, 0.95),
        depth: str = "auto",
        prior: str | os.PathLike | Table | MassPrior = "reference",
        refuse: bool = False,
        quantiles: Sequence[float] = (),
        samples: int = 0,
        min_coverage: float = 0.8,
        seed: int = 0,
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
        depth : {"auto", "cube", "field"}
            Depth of the windows: a cube around the star, or the whole line of sight. ``"auto"`` is ``"field"`` for a
            field, and for windows what `depth_class` returns.
        prior : str, path, Table or MassPrior
            Prior of log mass: ``"reference"`` (the masses of the reference stars), ``"flat"``, ``"kroupa"``,
            ``"chabrier"``, or a table; see `stellarfm.inference.masses.priors.MassPrior.resolve`.
        refuse : bool
            Leave out the masses of windows that are unlike the reference set; they keep their flags.
        quantiles : sequence of float
            Probabilities of additional quantiles, columns ``mass_quantile_05``, ...
        samples : int
            Number of draws from each distribution, column ``mass_samples``.
        min_coverage : float
            Fraction of usable pixels below which a window is flagged.
        seed : int
            Seed of the draws.

        Returns
        -------
        QTable
            Masses as described in `stellarfm.inference.masses.mass_table.mass_table`, with provenance in its ``meta``.

        Raises
        ------
        MapError, ModelError
            If there is no star, the distance is unknown, or the windows do not fit the model.
        """
        windows, assumed = self.windows(maps, sources), self._depth_class(maps, depth)
        prior = MassPrior.resolve(prior)
        table = estimate_windows(
            self.embedder,
            self.head,
            self._familiarity(assumed),
            windows,
            levels=levels,
            depth_class=assumed,
            prior=prior,
            refuse=refuse,
            quantiles=quantiles,
            samples=samples,
            min_coverage=min_coverage,
            independent=isinstance(maps, GasMaps),
            seed=seed,
        )
        table.meta.update({"depth_class": assumed, "prior": prior.name, **self.provenance()})
        if isinstance(maps, GasMaps):
            table.meta.update(maps.provenance())
            if sources is None:
                table.add_column(np.full(len(table), "candidate"), name="source_kind", index=1)
                table.meta["sources"] = "candidates: peaks of the column density, not known to be stars"
        return table

    def distribution(
        self,
        maps: MapSet | GasMaps,
        *,
        sources: SkyCoord | QTable | None = None,
        depth: str = "auto",
        prior: str | os.PathLike | Table | MassPrior = "reference",
    ) -> MassDistribution:
        """Return the distributions of the masses of the stars in `maps`; parameters are those of `estimate`."""
        features = self.features(self.windows(maps, sources))
        return self.head.predict(features, depth_class=self._depth_class(maps, depth), prior=prior)

    def analogues(
        self, maps: MapSet | GasMaps, *, sources: SkyCoord | QTable | None = None, n_analogues: int = 5
    ) -> QTable:
        """Return the reference stars with the largest weights for each star in `maps`.

        See `stellarfm.inference.masses.analogues.find_analogues`; column ``source`` is the row in the table of masses.
        """
        assert self.head.reference is not None
        windows = self.windows(maps, sources)
        weights = self.head.weights(self.features(windows))
        weights[windows.mask.all(axis=(1, 2))] = np.nan
        table = find_analogues(weights, self.head.reference, n_analogues=n_analogues)
        table.meta.update(self.provenance())
        return table

    def _familiarity(self, depth: str) -> Familiarity:
        """Return the comparison with reference windows of a depth class, or of the only one."""
        return self.familiarity.get(depth) or next(iter(self.familiarity.values()))

    def _depth_class(self, maps: MapSet | GasMaps, depth: str) -> str:
        """Return the depth class in use, and log it."""
        if depth != "auto":
            return depth
        assumed = FIELD if isinstance(maps, GasMaps) else depth_class(maps)
        logger.info("assuming windows of depth '%s' (depth=)", assumed)
        return assumed

    def segment(
        self, maps: MapSet | GasMaps, *, segments: int = 6, pixel_scale: u.Quantity | None = None, seed: int = 0
    ) -> Segmentation:
        """Return segments of similar gas; see `stellarfm.inference.segmentation.segment.segment_maps`."""
        if self.patch_distribution is None:
            raise ModelError("this model has no encoder, so no patch features to segment; fit one with an encoder")
        segmentation = segment_maps(
            self.embedder, self.patch_distribution, maps, segments=segments, pixel_scale=pixel_scale, seed=seed
        )
        origin = maps.provenance() if isinstance(maps, GasMaps) else {}
        return replace(segmentation, meta={**self.provenance(), **segmentation.meta, **origin})

    def windows(self, maps: MapSet | GasMaps, sources: SkyCoord | QTable | None = None) -> MapSet:
        """Return star-centered windows of a field; windows are returned as they are."""
        if isinstance(maps, MapSet):
            return maps
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
            "encoder": self.embedder.encoder.name if self.embedder.encoder else "none",
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
