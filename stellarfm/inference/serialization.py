"""Parts of a model to and from its directory; plain files that are read, checked and never executed."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from stellarfm import __version__
from stellarfm.exceptions import ModelError, StellarFMError
from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.calibrated_head import CalibratedHead, select_arrays
from stellarfm.inference.masses.familiarity import Familiarity
from stellarfm.inference.masses.reference_set import ReferenceSet
from stellarfm.inference.model_directory import (
    BUNDLED,
    CARD,
    CONFIG,
    HEAD,
    REFERENCE,
    WEIGHTS,
    bundled_directory,
    config_text,
    read_config,
    text_sha256,
)
from stellarfm.inference.segmentation.patch_distribution import PatchDistribution
from stellarfm.inference.selection import Selection
from stellarfm.maps import MapScaler
from stellarfm.maps.io.fits_image import write_hdus
from stellarfm.output import new_directory
from stellarfm.provenance import file_sha256, package_versions

__all__ = ["ModelParts", "model_config", "part_options", "read_model", "short_card", "write_model"]

#: Packages whose versions are recorded.
PACKAGES = ("stellarfm", "numpy", "scikit-learn", "astropy", "torch", "timm")

#: Units of the columns of the reference set.
UNITS = {"mass": "solMass", "time": "Myr", "depth": "pc"}


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelParts:
    """Fitted parts of a model.

    Attributes
    ----------
    embedder : Embedder
        Windows to features.
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
    """

    embedder: Embedder
    head: CalibratedHead
    familiarity: dict[str, Familiarity]
    patch_distribution: PatchDistribution | None
    label_kind: str
    selection: Selection | None = None


def part_options(parts: ModelParts) -> dict[str, Any]:
    """Return the options of readout and head as plain JSON types."""
    return {"readout": asdict(parts.embedder.readout), **parts.head.options()}


def model_config(parts: ModelParts, files: dict[str, str]) -> dict[str, Any]:
    """Return the content of config.json: everything but arrays, with the hashes of the other `files`."""
    embedder, encoder = parts.embedder, parts.embedder.encoder
    return {
        "label_kind": parts.label_kind,
        "windows": {
            "pixels": embedder.pixels,
            "pixel_scale_pc": embedder.pixel_scale.to_value(u.pc),
        },
        "encoder": encoder and {"name": encoder.name, "options": encoder.options, "training": encoder.training},
        "scaler": encoder and embedder.scaler.to_config(),
        **part_options(parts),
        "familiarity": next(iter(parts.familiarity.values())).get_params(),
        "cross_validation": parts.head.cross_validation,
        **({} if parts.selection is None else {"selection": parts.selection.to_config()}),
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
        if parts.embedder.encoder is not None:
            parts.embedder.encoder.save(folder / WEIGHTS)
        (folder / HEAD).write_bytes(save(_head_arrays(parts)))
        _write_reference(parts, folder / REFERENCE)
        hashes = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
        text = config_text(model_config(parts, hashes))
        (folder / CONFIG).write_text(text)
        (folder / CARD).write_text(short_card(parts))
    return text_sha256(text)


def _head_arrays(parts: ModelParts) -> dict[str, np.ndarray]:
    """Return the arrays of the head and of the familiarity of each depth class."""
    arrays = parts.head.to_arrays()
    for name, one in parts.familiarity.items():
        arrays |= {f"familiarity.{name}.{key}": values for key, values in one.to_arrays().items()}
    return {name: np.ascontiguousarray(values) for name, values in arrays.items()}


def read_model(directory: str | os.PathLike | None = None) -> tuple[ModelParts, str]:
    """Return the parts of the model in `directory` (default: the bundled model) and its sha256.

    Nothing is fitted again; the encoder is read when it is needed.

    Raises
    ------
    InputNotFoundError, ModelError, PluginError
        If something is missing, altered or not installed; nothing in the directory is executed.
    """
    folder = BUNDLED if directory is None else bundled_directory(directory) or Path(directory)
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
    windows = config["windows"]
    reference, patch_distribution = _read_reference(folder / REFERENCE)
    embedder = Embedder(
        FrozenEncoder.from_model(config, folder) if config["encoder"] else None,
        MapScaler.from_config(config["scaler"]) if config["scaler"] else MapScaler(),
        Readout(**config["readout"]),
        pixels=int(windows["pixels"]),
        pixel_scale=windows["pixel_scale_pc"] * u.pc,
    )
    arrays = _read_head(folder / HEAD)
    return ModelParts(
        embedder=embedder,
        head=CalibratedHead.from_arrays(config, arrays, reference),
        familiarity={
            name: Familiarity.from_arrays(select_arrays(arrays, f"familiarity.{name}."), **config["familiarity"])
            for name in reference.depth_classes
        },
        patch_distribution=patch_distribution,
        label_kind=config["label_kind"],
        selection=Selection.from_config(config["selection"]) if "selection" in config else None,
    )


def _read_head(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a head file; raise `ModelError` if it is not one."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a safetensors file ({error}); fit the model again") from error


def _write_reference(parts: ModelParts, path: Path) -> None:
    """Write a FITS file: table REFERENCE, table PATCHES (a component per row), image PATCH_MEAN."""
    assert parts.head.reference is not None
    arrays = parts.head.reference.to_arrays()
    windows = fits.BinTableHDU.from_columns(
        [_column(name.upper(), values) for name, values in arrays.items()], name="REFERENCE"
    )
    for number, name in enumerate(arrays, start=1):
        if name in UNITS:
            windows.header.set(f"TUNIT{number}", UNITS[name], after=f"TFORM{number}")
    hdus = [fits.PrimaryHDU(), windows]
    if (distribution := parts.patch_distribution) is not None:
        patches = fits.BinTableHDU.from_columns(
            [_column("COMPONENT", distribution.components), _column("VARIANCE", distribution.variance)], name="PATCHES"
        )
        patches.header["NOISE"] = (distribution.noise, "mean variance of the remaining directions")
        patches.header["FAMILIAR"] = (distribution.threshold, "99 % quantile of the Mahalanobis distances")
        hdus += [patches, fits.ImageHDU(distribution.mean, name="PATCH_MEAN")]
    write_hdus(hdus, path)


def _read_reference(path: Path) -> tuple[ReferenceSet, PatchDistribution | None]:
    """Return the reference set and the patch distribution, if any, in a file; raise `ModelError` if it is not one."""
    try:
        with fits.open(path, memmap=False) as hdus:
            table = hdus["REFERENCE"].data
            reference = ReferenceSet.from_arrays({name.lower(): _native(table[name]) for name in table.names})
            if "PATCHES" not in hdus:
                return reference, None
            patches = hdus["PATCHES"]
            return reference, PatchDistribution(
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
    embedder, reference = parts.embedder, parts.head.summary()
    described = "none"
    if (encoder := embedder.encoder) is not None:
        described = f"`{encoder.name}` ({'pretrained' if encoder.training else 'random weights'})"
    depths = ", ".join(
        f"{reference['windows_by_depth'][name]} of depth '{name}'" + (f" ({depth:.3g} pc)" if depth else "")
        for name, depth in reference["depth_pc"].items()
    )
    scores = "; ".join(
        f"{name}: R2 of log mass {score['r2']:.2f}, RMSE {score['rmse_dex']:.2f} dex"
        for name, score in parts.head.cross_validation.items()
    )
    return (
        f"# A stellarfm model\n\n"
        f"- encoder: {described}; readout: {' + '.join(embedder.readout.pooling)}; "
        f"head: {parts.head.options()['head']}\n"
        f"- masses: {parts.label_kind} masses, trusted from {reference['trusted_mass_solMass'][0]:.3g} to "
        f"{reference['trusted_mass_solMass'][1]:.3g} solar masses\n"
        f"- reference set: {reference['windows']} windows of {reference['stars']} stars of "
        f"{', '.join(reference['simulations'])}\n"
        f"- prior: masses of the reference stars, of which "
        f"{', '.join(_prior_words(reference['mass_quantiles_solMass']))}\n"
        f"- windows: {embedder.pixels} pixels of {embedder.pixel_scale:.4g}; {depths}\n"
        f"- each {parts.head.calibration_by} predicted by the others, {scores}\n"
        f"- made by stellarfm {__version__}\n" + ("" if parts.selection is None else f"\n{parts.selection.card()}")
    )


def _prior_words(quantiles: dict[str, list[float]]) -> list[str]:
    """Return the quantiles of the reference masses in words."""
    pairs = zip(quantiles["probability"], quantiles["mass"], strict=True)
    return [f"{100 * p:.0f} % are below {mass:.2g} solar masses" for p, mass in pairs]
