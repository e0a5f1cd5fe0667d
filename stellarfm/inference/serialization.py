"""Parts of a model to and from its directory; plain files that are read, checked and never executed."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from stellarfm import __version__
from stellarfm.exceptions import ModelError, StellarFMError
from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.mass_head import MassHead
from stellarfm.inference.model_directory import (
    BUNDLED,
    CARD,
    CONFIG,
    REFERENCE,
    SUMS,
    WEIGHTS,
    config_text,
    read_config,
    sums_text,
    text_sha256,
)
from stellarfm.inference.segmentation.patch_distribution import PatchDistribution
from stellarfm.maps import MapScaler
from stellarfm.maps.io.fits_image import write_hdus
from stellarfm.output import new_directory
from stellarfm.provenance import file_sha256, package_versions

__all__ = ["ModelParts", "model_config", "part_options", "read_model", "short_card", "write_model"]

#: Packages whose versions are recorded.
PACKAGES = ("stellarfm", "numpy", "scikit-learn", "astropy", "torch", "timm")

#: Units of the columns of the reference set.
UNITS = {"mass": "solMass"}


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelParts:
    """Fitted parts of a model.

    Attributes
    ----------
    embedder : Embedder
        Windows to features.
    head : MassHead
        Features to masses.
    patch_distribution : PatchDistribution
        Distribution of the patch features of the reference windows.
    depth : Quantity
        Length of the line of sight through the reference windows, pc; NaN if unknown.
    label_kind : {"sink", "star"}
        Kind of the masses.
    """

    embedder: Embedder
    head: MassHead
    patch_distribution: PatchDistribution
    depth: u.Quantity
    label_kind: str


def part_options(parts: ModelParts) -> dict[str, Any]:
    """Return the options of readout and head as plain JSON types."""
    return {"readout": asdict(parts.embedder.readout), **parts.head.options()}


def model_config(parts: ModelParts, files: dict[str, str]) -> dict[str, Any]:
    """Return the content of config.json: everything but weights and reference set, with the hashes of those `files`."""
    embedder, encoder = parts.embedder, parts.embedder.encoder
    return {
        "label_kind": parts.label_kind,
        "windows": {
            "pixels": embedder.pixels,
            "pixel_scale_pc": embedder.pixel_scale.to_value(u.pc),
            "depth_pc": parts.depth.to_value(u.pc) if np.isfinite(parts.depth) else None,
        },
        "encoder": {"name": encoder.name, "options": encoder.options, "training": encoder.training},
        "scaler": embedder.scaler.to_config(),
        **part_options(parts),
        "cross_validation": parts.head.cross_validation,
        "reference": parts.head.summary(),
        "versions": package_versions(*PACKAGES),
        "files": files,
    }


def write_model(parts: ModelParts, directory: str | os.PathLike, *, overwrite: bool = False) -> str:
    """Write the directory of a model, whole or not at all, and return its sha256.

    Raises
    ------
    OutputExistsError
        If the directory exists and `overwrite` is False.
    """
    with new_directory(directory, overwrite=overwrite) as folder:
        parts.embedder.encoder.save(folder / WEIGHTS)
        _write_reference(parts, folder / REFERENCE)
        text = config_text(model_config(parts, {name: file_sha256(folder / name) for name in (WEIGHTS, REFERENCE)}))
        (folder / CONFIG).write_text(text)
        (folder / SUMS).write_text(sums_text(text_sha256(text)))
        (folder / CARD).write_text(short_card(parts))
    return text_sha256(text)


def read_model(directory: str | os.PathLike | None = None) -> tuple[ModelParts, str]:
    """Return the parts of the model in `directory` (default: the bundled model) and its sha256.

    The head is fitted again from the reference set.

    Raises
    ------
    InputNotFoundError, ModelError, PluginError
        If something is missing, altered or not installed; nothing in the directory is executed.
    """
    folder = BUNDLED if directory is None else Path(directory)
    config = read_config(folder)
    try:
        return _parts(config, folder), file_sha256(folder / CONFIG)
    except StellarFMError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{folder / CONFIG} is incomplete or wrong ({error!r}); fit or copy the model again"
        ) from error


def _parts(config: dict[str, Any], folder: Path) -> ModelParts:
    """Return the parts that a configuration describes."""
    windows, depth = config["windows"], config["windows"]["depth_pc"]
    arrays, patch_distribution = _read_reference(folder / REFERENCE)
    embedder = Embedder(
        FrozenEncoder.from_model(config, folder),
        MapScaler.from_config(config["scaler"]),
        Readout(**config["readout"]),
        pixels=int(windows["pixels"]),
        pixel_scale=windows["pixel_scale_pc"] * u.pc,
    )
    return ModelParts(
        embedder=embedder,
        head=MassHead.from_arrays(config, arrays),
        patch_distribution=patch_distribution,
        depth=(np.nan if depth is None else depth) * u.pc,
        label_kind=config["label_kind"],
    )


def _write_reference(parts: ModelParts, path: Path) -> None:
    """Write a FITS file: table REFERENCE, table PATCHES (a component per row), image PATCH_MEAN."""
    arrays = parts.head.to_arrays()
    windows = fits.BinTableHDU.from_columns(
        [_column(name.upper(), values) for name, values in arrays.items()], name="REFERENCE"
    )
    for number, name in enumerate(arrays, start=1):
        if name in UNITS:
            windows.header.set(f"TUNIT{number}", UNITS[name], after=f"TFORM{number}")
    distribution = parts.patch_distribution
    patches = fits.BinTableHDU.from_columns(
        [_column("COMPONENT", distribution.components), _column("VARIANCE", distribution.variance)], name="PATCHES"
    )
    patches.header["NOISE"] = (distribution.noise, "mean variance beside the components")
    patches.header["FAMILIAR"] = (distribution.threshold, "99 % quantile of the Mahalanobis distances")
    write_hdus([fits.PrimaryHDU(), windows, patches, fits.ImageHDU(distribution.mean, name="PATCH_MEAN")], path)


def _read_reference(path: Path) -> tuple[dict[str, np.ndarray], PatchDistribution]:
    """Return the arrays of the head and the patch distribution in a reference file; `ModelError` if it has none."""
    try:
        with fits.open(path, memmap=False) as hdus:
            table = hdus["REFERENCE"].data
            arrays = {name.lower(): _native(table[name]) for name in table.names}
            patches = hdus["PATCHES"]
            return arrays, PatchDistribution(
                mean=_native(hdus["PATCH_MEAN"].data),
                components=_native(patches.data["COMPONENT"]),
                variance=_native(patches.data["VARIANCE"]),
                noise=float(patches.header["NOISE"]),
                threshold=float(patches.header["FAMILIAR"]),
            )
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not a reference set ({error}); fit the model again") from error


def _column(name: str, values: np.ndarray) -> fits.Column:
    """Return a FITS column of an array's own type; the rows of a matrix are vectors."""
    if values.dtype.kind == "U":
        return fits.Column(name, format=f"{max(1, values.dtype.itemsize // 4)}A", array=values)
    code = {"f4": "E", "f8": "D"}[values.dtype.str[1:]]
    return fits.Column(name, format=f"{values.shape[1] if values.ndim == 2 else ''}{code}", array=values)


def _native(values: np.ndarray) -> np.ndarray:
    """Return an array in native byte order; text as str."""
    values = np.asarray(values)
    return values.astype(str) if values.dtype.kind in "SU" else values.astype(values.dtype.newbyteorder("="))


def short_card(parts: ModelParts) -> str:
    """Return a short model card in Markdown."""
    embedder, reference, score = parts.embedder, parts.head.summary(), parts.head.cross_validation
    trained = "pretrained" if embedder.encoder.training else "random weights"
    return (
        f"# A stellarfm model\n\n"
        f"- encoder: `{embedder.encoder.name}` ({trained}), read as {' + '.join(embedder.readout.pooling)}\n"
        f"- masses: {parts.label_kind} masses, trusted from {reference['trusted_mass_solMass'][0]:.3g} to "
        f"{reference['trusted_mass_solMass'][1]:.3g} solar masses\n"
        f"- reference set: {reference['windows']} windows of {reference['stars']} stars of "
        f"{', '.join(reference['simulations'])}\n"
        f"- windows: {embedder.pixels} pixels of {embedder.pixel_scale:.4g}, {parts.depth:.3g} deep\n"
        f"- each {parts.head.calibration_by} predicted by the others: R2 of log mass {score['r2']:.2f}, "
        f"RMSE {score['rmse_dex']:.2f} dex\n"
        f"- made by stellarfm {__version__}\n"
    )
