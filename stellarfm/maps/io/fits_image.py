"""Two-dimensional images in FITS; one way in, `open_fits`, and one way out, `write_hdus`."""

from __future__ import annotations

import itertools
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError
from stellarfm.maps.decisions import DecisionLog
from stellarfm.maps.io.celestial_wcs import celestial_wcs
from stellarfm.maps.io.missing_data import logged_warnings

__all__ = ["SMALLEST_SIDE", "VERIFY", "Plane", "check_hdus", "open_fits", "read_plane", "write_hdus"]

logger = logging.getLogger("stellarfm")

#: Smallest side of a map in pixels; narrower maps hold no structure to learn from.
SMALLEST_SIDE = 8


#: Whether `open_fits` compares DATASUM with the data; set by `stellarfm.maps.GasMaps.read`.
VERIFY: ContextVar[bool] = ContextVar("VERIFY", default=True)


@dataclass(frozen=True, eq=False)
class Plane:
    """Two-dimensional map as stored in a file.

    Attributes
    ----------
    values : ndarray
        Shape (ny, nx), floating point.
    wcs : WCS
        Two-dimensional celestial WCS.
    header : fits.Header
        Header of the HDU that holds the map.
    where : str
        File and extension, for messages.
    """

    values: np.ndarray
    wcs: WCS
    header: fits.Header
    where: str

    def text(self, *keywords: str) -> str:
        """Return the values of text cards, joined by blanks; empty without any."""
        cards = (self.header.get(keyword, "") for keyword in keywords)
        return " ".join(card.strip() for card in cards if isinstance(card, str) and card.strip())


@contextmanager
def open_fits(source: str | os.PathLike | fits.HDUList) -> Iterator[tuple[fits.HDUList, str]]:
    """Open a FITS file and log the warnings that it causes.

    Parameters
    ----------
    source : path or HDUList
        An open HDU list is left open.

    Yields
    ------
    HDUList, str
        The HDUs and the name of the file for messages.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    ReaderError
        If it is not a FITS file, truncated or damaged (DATASUM), or one of the errors of astropy is raised inside the
        context.
    """
    if isinstance(source, fits.HDUList):
        name = source.filename() or "HDUList"
        with logged_warnings(name):
            yield source, name
        return
    path = Path(source)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    with logged_warnings(str(path)), _reader_errors(path), fits.open(path, memmap=False) as hdus:
        check_hdus(hdus, str(path))
        if VERIFY.get():
            _check_sums(hdus, path)
        yield hdus, str(path)


def _check_sums(hdus: fits.HDUList, path: Path) -> None:
    """Raise `ReaderError` if the data of an HDU do not match DATASUM; warn if only the header does not match CHECKSUM.

    Many programs leave CHECKSUM behind when they edit a header or copy an extension.
    """
    for hdu in hdus:
        if isinstance(hdu, fits.CompImageHDU):
            continue
        if hdu.verify_datasum() == 0:
            raise ReaderError(
                f"{path}[{hdu.name}]: damaged: DATASUM does not fit the data; fetch it again, or, if it was "
                "edited, accept it by verify_checksum=False (--reader-option verify_checksum=false)"
            )
        if hdu.verify_checksum() == 0:
            logger.warning(
                "%s[%s]: CHECKSUM does not fit the header, which was edited or damaged; compare it with its source",
                path,
                hdu.name,
            )


def check_hdus(hdus: fits.HDUList, name: str) -> None:
    """Read all headers of a file one by one; raise `ReaderError` if the file is truncated or damaged.

    A negative NAXISn would send astropy backwards in the file for ever, and a truncated file loses the HDUs at its end,
    with no more than a warning.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in itertools.count():
            try:
                hdu = hdus[number]
            except IndexError:
                break
            sizes = {key: hdu.header[key] for key in hdu.header if re.fullmatch(r"NAXIS\d*|PCOUNT|GCOUNT", key)}
            if wrong := [f"{key} = {size!r}" for key, size in sizes.items() if not _is_size(size)]:
                raise ReaderError(f"{name}: HDU {number}: {', '.join(wrong)}; expected sizes: the header is damaged")
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        if "truncated" in text or "Error validating header" in text:
            raise ReaderError(f"{name}: truncated ({text}); fetch it again")
        logger.info("%s: %s", name, text)


def _is_size(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


@contextmanager
def _reader_errors(path: Path) -> Iterator[None]:
    """Convert the errors that astropy raises on foreign or truncated files to one-line `ReaderError`."""
    try:
        yield
    except (InputNotFoundError, MapError, ReaderError):
        raise
    except (OSError, fits.VerifyError, TypeError, ValueError, KeyError, IndexError) as error:
        raise ReaderError(f"{path}: not a FITS file, or a truncated one ({error}); fetch it again") from error


def read_plane(
    hdu: fits.ImageHDU | fits.PrimaryHDU,
    *,
    where: str,
    number: int | None = None,
    hdus: fits.HDUList | None = None,
    log: DecisionLog | None = None,
) -> Plane:
    """Read the map of an image HDU; axes of length one are dropped.

    Parameters
    ----------
    hdu : ImageHDU or PrimaryHDU
        Image of any number type.
    where : str
        File (and extension) for error messages.
    number : int, optional
        Number of the plane of a cube, from 1, as in PLANEn.
    hdus : HDUList, optional
        File of the image, with the lookup tables of its distortion.
    log : DecisionLog, optional
        Receives the repairs of the header.

    Raises
    ------
    MapError
        If it is not a two-dimensional image of a reasonable size, or has no celestial WCS.
    """
    if hdu.data is None or not getattr(hdu, "is_image", False):
        raise MapError(f"{where}: not an image; expected a two-dimensional map")
    values = np.asarray(hdu.data)
    if number is not None:
        lengths = [length for length in values.shape if length > 1]
        values = values.reshape(-1, *values.shape[-2:])
        if len(lengths) != 3 or not 1 <= number <= len(values):
            raise MapError(f"{where}: no plane {number} in data of shape {hdu.data.shape}; expected a number from 1")
        values = values[number - 1]
    _check_shape(values.shape, where)
    kept = [axis for axis, length in enumerate(reversed(values.shape), start=1) if length > 1]
    native = values.dtype.newbyteorder("=") if values.dtype.kind == "f" else np.dtype(float)
    values = values.squeeze().astype(native)
    wcs = celestial_wcs(hdu.header, kept, where=where, shape=values.shape, hdus=hdus, log=log)
    return Plane(values, wcs, hdu.header, where)


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    """Raise `MapError` for spectra, cubes and images that are too small."""
    sides = [length for length in shape if length > 1]
    if len(sides) > 2:
        raise MapError(
            f"{where}: a cube of shape {shape}; expected a two-dimensional map: "
            "derive column density, mean velocity and dispersion from the cube first"
        )
    if len(sides) < 2 or min(sides) < SMALLEST_SIDE:
        raise MapError(
            f"{where}: data of shape {shape}; expected a two-dimensional map of at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
        )


def write_hdus(hdus: Sequence[Any], path: str | os.PathLike) -> None:
    """Write HDUs with CHECKSUM and DATASUM but without time stamps, so that equal data give equal files.

    Parameters
    ----------
    hdus : sequence of HDU
        The primary HDU first.
    path : path
        New file; an existing one is an error.
    """
    hdulist = fits.HDUList(list(hdus))
    hdulist.update_extend()
    for hdu in hdulist:
        hdu.add_checksum(when="data and header of this HDU")
    hdulist.writeto(path)
