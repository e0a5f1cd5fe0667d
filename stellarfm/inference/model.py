"""StellarModel: encoder, scaler, reference set, head and calibration in one."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from sklearn.base import clone
from sklearn.metrics import r2_score

from stellarfm import __version__
from stellarfm.exceptions import ModelError, StellarFMError
from stellarfm.inference.encoding.features import Readout, extract_patches
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.defaults import default_readout, default_regressor
from stellarfm.inference.masses.estimation import estimate_windows, mass_range
from stellarfm.inference.masses.fitting import Learner, check_labels
from stellarfm.inference.masses.out_of_distribution import ood_threshold
from stellarfm.inference.masses.reference_set import ReferenceSet
from stellarfm.inference.masses.regression import MassRegressor
from stellarfm.inference.model_directory import (
    BUNDLED,
    CARD,
    CONFIG,
    REFERENCE,
    WEIGHTS,
    config_text,
    read_config,
    text_sha256,
)
from stellarfm.inference.segmentation.segment import Segmentation, segment_maps
from stellarfm.maps import GasMaps, MapScaler, MapSet
from stellarfm.output import new_directory
from stellarfm.provenance import build_date, file_sha256, package_versions

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable

__all__ = ["StellarModel"]

logger = logging.getLogger("stellarfm")

PACKAGES = ("stellarfm", "numpy", "scikit-learn", "astropy", "torch", "timm")


@dataclass(frozen=True, eq=False)
class StellarModel:
    """Masses and segments from maps of gas. Made by `fit` or `load`.

    Attributes
    ----------
    encoder : FrozenEncoder
        The frozen encoder, with its name, options and training record.
    scaler : MapScaler
        From Quantities to tensors.
    readout : Readout
        How a window becomes one vector.
    regressor : MassRegressor
        Fitted on the reference set.
    intervals : StarConformal
        Fitted on the cross-fitted residuals.
    reference : Reference
        Features and masses of all reference windows.
    pixels : int
        Side of a window in pixels.
    pixel_scale, depth : Quantity
        Side of a pixel and length of the line of sight of the reference windows, pc.
    label_kind : str
        What the masses mean: ``"sink"`` or ``"star"``.
    calibration_by : str
        What cross-fitting held out whole: ``"star"`` or ``"simulation"``.
    sha256 : str
        Fingerprint of the model directory; empty while the model was not saved.
    """

    encoder: FrozenEncoder
    scaler: MapScaler
    readout: Readout
    regressor: MassRegressor
    intervals: StarConformal
    reference: ReferenceSet
    pixels: int
    pixel_scale: u.Quantity
    depth: u.Quantity
    label_kind: str
    calibration_by: str
    sha256: str = ""

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
        """Read masses off the features of a frozen encoder.

        Parameters
        ----------
        mapset : MapSet
            Windows of stars of known mass, of one label kind; several sets are joined by `MapSet.concatenate`.
        encoder : str or path
            As for `FrozenEncoder.resolve`: the default one, the output of a pretraining run, a model, or a name of the
            registry (random weights).
        scaler, readout, regressor, intervals : optional
            The parts, unfitted, with their options; if not given, as the bundled model has them
            (`stellarfm.inference.masses.defaults`).
        calibration_by : {"star", "simulation"}
            What is held out whole to learn the intervals. Simulations are what an observer's cloud differs by, but need
            several of similar size: of two, the smaller one cannot predict the larger.
        seed : int
            Of random weights, and of the choice of windows for the patch summary.

        Raises
        ------
        ModelError, MapError, InputNotFoundError, PluginError
        """
        pixels, label_kind = check_labels(mapset)
        frozen = FrozenEncoder.resolve(encoder, image_size=pixels, seed=seed).half_precision()
        readout = readout or default_readout()
        regressor = clone(regressor or default_regressor())
        if regressor.blocks is None and len(readout.pooling) > 1:
            regressor.set_params(blocks=readout.lengths(frozen.module, side=pixels))
        learner = Learner(
            frozen, scaler or MapScaler(), readout, regressor, intervals or StarConformal(), calibration_by, seed
        )
        fitted_scaler, fitted_regressor, fitted_intervals, reference = learner.learn(mapset)
        return cls(
            frozen,
            fitted_scaler,
            readout,
            fitted_regressor,
            fitted_intervals,
            reference,
            pixels=pixels,
            pixel_scale=mapset.pixel_scale,
            depth=mapset.depth,
            label_kind=label_kind,
            calibration_by=calibration_by,
        )

    def features(self, windows: MapSet) -> np.ndarray:
        """Feature vectors of windows, shape (N, D), float32."""
        self.check_windows(windows)
        return self.readout.extract(self.encoder.module, self.scaler.transform(windows))

    def patches(self, windows: MapSet) -> np.ndarray:
        """Patch features of windows of any scale, shape (N, rows, columns, embed_dim), float32."""
        return extract_patches(self.encoder.module, self.scaler.transform(windows))

    def estimate(
        self,
        maps: MapSet | GasMaps,
        *,
        sources: SkyCoord | QTable | None = None,
        levels: Sequence[float] = (0.68, 0.95),
        min_coverage: float = 0.8,
    ) -> QTable:
        """Masses of the stars in `maps`.

        Parameters
        ----------
        maps : MapSet or GasMaps
            Star-centred windows, or a field with a known distance.
        sources : SkyCoord or QTable, optional
            Where the stars of a field are; without it the peaks of its column density are taken.
        levels : sequence of float
            Probabilities of the intervals.
        min_coverage : float
            Windows with a smaller fraction of usable pixels are flagged.

        Returns
        -------
        QTable
            See `stellarfm.inference.masses.mass_table.mass_table`.

        Raises
        ------
        MapError, ModelError
        """
        field = isinstance(maps, GasMaps)
        windows = self._windows(maps, sources) if isinstance(maps, GasMaps) else maps
        return estimate_windows(self, windows, levels=levels, min_coverage=min_coverage, independent=field)

    def segment(
        self, maps: MapSet | GasMaps, *, segments: int = 6, pixel_scale: u.Quantity | None = None, seed: int = 0
    ) -> Segmentation:
        """Segments of alike gas; see `stellarfm.inference.segmentation.segment.segment_maps`."""
        return segment_maps(self, maps, segments=segments, pixel_scale=pixel_scale, seed=seed)

    def _windows(self, maps: GasMaps, sources: SkyCoord | QTable | None) -> MapSet:
        """Star-centred windows of a field."""
        from stellarfm.maps import column_peaks, windows_around

        if sources is None:
            sources = column_peaks(maps)
            logger.info("no list of sources: taking the %d peaks of the column density for stars", len(sources))
        return windows_around(maps, sources, pixels=self.pixels, pixel_scale=self.pixel_scale)

    def check_windows(self, windows: MapSet) -> None:
        """Raise `ModelError` for windows of another size or scale than the reference's."""
        shape, scale = windows.column_density.shape[1:], windows.pixel_scale
        if shape != (self.pixels, self.pixels) or abs(scale / self.pixel_scale - 1) > 0.02:
            raise ModelError(
                f"windows of {shape} pixels of {scale:.4g}; the model expects ({self.pixels}, {self.pixels}) of "
                f"{self.pixel_scale:.4g}; project or cut them at that scale"
            )

    @cached_property
    def ood_threshold(self) -> float:
        """Distance to the reference set that 99 % of its own stars stay below."""
        return ood_threshold(self.reference.distance, self.reference.groups)

    @cached_property
    def mass_range(self) -> tuple[float, float]:
        """Lightest and heaviest mass [solMass] beyond which fewer than five reference stars lie."""
        return mass_range(self.reference.mass, self.reference.groups)

    @cached_property
    def cross_validation(self) -> dict[str, float]:
        """R2 of log mass and RMSE [dex] of the cross-fitted predictions, over windows."""
        true = np.log10(self.reference.mass)
        residual = self.reference.residual
        rmse = np.sqrt(np.mean(residual**2))
        return {"r2": round(float(r2_score(true, true - residual)), 4), "rmse_dex": round(float(rmse), 4)}

    def provenance(self) -> dict[str, str]:
        """What a result must say of the model that made it."""
        return {
            "label_kind": self.label_kind,
            "stellarfm_version": __version__,
            "encoder": self.encoder.name,
            "model_sha256": self.sha256 or "not saved",
            "options": json.dumps(self._options()),
            **build_date(),
        }

    def _options(self) -> dict[str, Any]:
        """Options of the parts, as plain JSON types."""
        return {
            "readout": asdict(self.readout),
            "regressor": self.regressor.get_params(),
            "calibration": {"by": self.calibration_by, **self.intervals.get_params()},
        }

    def save(self, directory: str | os.PathLike, *, overwrite: bool = False) -> StellarModel:
        """Write the model directory, whole or not at all; returns the model with its fingerprint.

        Raises
        ------
        OutputExistsError
            If it exists and `overwrite` is False.
        """
        with new_directory(directory, overwrite=overwrite) as folder:
            self.encoder.save(folder / WEIGHTS)
            self.reference.write(folder / REFERENCE)
            text = config_text(self._config({name: file_sha256(folder / name) for name in (WEIGHTS, REFERENCE)}))
            (folder / CONFIG).write_text(text)
            saved = replace(self, sha256=text_sha256(text))
            (folder / CARD).write_text(saved.card())
        return saved

    def _config(self, files: dict[str, str]) -> dict[str, Any]:
        """Everything but the weights and the reference set."""
        lightest, heaviest = self.mass_range
        return {
            "label_kind": self.label_kind,
            "windows": {
                "pixels": self.pixels,
                "pixel_scale_pc": self.pixel_scale.to_value(u.pc),
                "depth_pc": self.depth.to_value(u.pc) if np.isfinite(self.depth) else None,
            },
            "encoder": {"name": self.encoder.name, "options": self.encoder.options, "training": self.encoder.training},
            "scaler": self.scaler.to_config(),
            **self._options(),
            "cross_validation": self.cross_validation,
            "reference": {
                "windows": len(self.reference.mass),
                "stars": self.intervals.n_stars_,
                "simulations": sorted(set(self.reference.simulation.tolist())),
                "trusted_mass_solMass": [lightest, heaviest],
            },
            "versions": package_versions(*PACKAGES),
            "files": files,
        }

    @classmethod
    def load(cls, directory: str | os.PathLike | None = None) -> StellarModel:
        """The model in `directory`, or the bundled one. The head is fitted again from the reference set.

        Raises
        ------
        InputNotFoundError, ModelError, PluginError
            If something is missing, altered or not installed; nothing in the directory is executed.
        """
        folder = BUNDLED if directory is None else Path(directory)
        config = read_config(folder)
        try:
            return cls._from_config(config, folder)
        except StellarFMError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"{folder / CONFIG} is incomplete or wrong ({error!r}); fit or copy the model again"
            ) from error

    @classmethod
    def _from_config(cls, config: dict[str, Any], folder: Path) -> StellarModel:
        """The model that a configuration describes."""
        windows = config["windows"]
        calibration = dict(config["calibration"])
        by = calibration.pop("by")
        reference = ReferenceSet.read(folder / REFERENCE)
        depth = windows["depth_pc"]
        return cls(
            FrozenEncoder.from_model(config, folder),
            MapScaler.from_config(config["scaler"]),
            Readout(**config["readout"]),
            MassRegressor(**config["regressor"]).fit(reference.features, reference.mass, stars=reference.groups),
            StarConformal(**calibration).fit(reference.residual, reference.spread, stars=reference.groups),
            reference,
            pixels=int(windows["pixels"]),
            pixel_scale=windows["pixel_scale_pc"] * u.pc,
            depth=(np.nan if depth is None else depth) * u.pc,
            label_kind=config["label_kind"],
            calibration_by=by,
            sha256=file_sha256(folder / CONFIG),
        )

    def card(self) -> str:
        """A short model card in Markdown."""
        facts = self._config({})
        reference, score = facts["reference"], facts["cross_validation"]
        trained = "pretrained" if self.encoder.training else "random weights"
        return (
            f"# A stellarfm model\n\n"
            f"- encoder: `{self.encoder.name}` ({trained}), read as {' + '.join(self.readout.pooling)}\n"
            f"- masses: {self.label_kind} masses, trusted from {reference['trusted_mass_solMass'][0]:.3g} to "
            f"{reference['trusted_mass_solMass'][1]:.3g} solar masses\n"
            f"- reference set: {reference['windows']} windows of {reference['stars']} stars of "
            f"{', '.join(reference['simulations'])}\n"
            f"- windows: {self.pixels} pixels of {self.pixel_scale:.4g}, {self.depth:.3g} deep\n"
            f"- each {self.calibration_by} predicted by the others: R2 of log mass {score['r2']:.2f}, "
            f"RMSE {score['rmse_dex']:.2f} dex\n"
            f"- made by stellarfm {__version__}\n"
        )
