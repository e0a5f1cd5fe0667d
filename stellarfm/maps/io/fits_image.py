"""Two-dimensional images in FITS; one way in, `open_fits`, and one way out, `write_hdus`."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, WcsError
from astropy.wcs.utils import proj_plane_pixel_scales

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError, UnitsError
from stellarfm.maps.io.missing_data import logged_warnings

__all__ = ["SMALLEST_SIDE", "Plane", "open_fits", "read_plane", "wcs_header", "write_hdus"]

logger = logging.getLogger("stellarfm")

#: Smallest side of a map in pixels; narrower maps hold no structure to learn from.
SMALLEST_SIDE = 8


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

    def unit(self) -> str:
        """Return BUNIT as written; raise `UnitsError` if it is missing."""
        text = str(self.header.get("BUNIT", "")).strip()
        if not text:
            raise UnitsError(
                f"{self.where}: BUNIT is missing; expected a unit such as 'cm-2' or 'km s-1' in the header"
            )
        return text


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
        If it is not a FITS file, is truncated or does not match its CHECKSUM or DATASUM, or if astropy raises one of
        its errors inside the context.
    """
    if isinstance(source, fits.HDUList):
        name = source.filename() or "HDUList"
        with logged_warnings(name):
            yield source, name
        return
    path = Path(source)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    with logged_warnings(str(path)), _reader_errors(path), ExitStack() as stack:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hdus = stack.enter_context(fits.open(path, memmap=False, checksum=True))
            len(hdus)  # reads all of them
        _check_sums(path, hdus, [str(warning.message) for warning in caught])
        for warning in caught:
            if "verification failed" not in str(warning.message):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        yield hdus, str(path)


def _check_sums(path: Path, hdus: fits.HDUList, messages: Sequence[str]) -> None:
    """Raise `ReaderError` if CHECKSUM or DATASUM do not match, according to the warnings of astropy.

    It is only a warning where only CHECKSUM does not match, and in files of a single map: many programs leave the sums
    behind when they edit a header, copy an extension or mask pixels, and published maps are among them.
    """
    field = {"COLUMN", "VELOCITY", "DISPERSION"} <= {hdu.name for hdu in hdus}
    for message in [" ".join(message.split()) for message in messages]:
        if re.match("(Checksum|Datasum) verification failed", message):
            text = f"{path}: {message} The file was damaged, or changed without updating CHECKSUM and DATASUM; "
            if field and message.startswith("Datasum"):
                raise ReaderError(f"{text}fetch it again or, if the change was intended, run fitscheck --write on it")
            logger.warning("%scompare it with its source", text)


@contextmanager
def _reader_errors(path: Path) -> Iterator[None]:
    """Convert the errors that astropy raises on foreign or truncated files to one-line `ReaderError`."""
    try:
        yield
    except (InputNotFoundError, MapError, ReaderError):
        raise
    except (OSError, fits.VerifyError, TypeError, ValueError, KeyError, IndexError) as error:
        raise ReaderError(f"{path}: not a FITS file, or a truncated one ({error}); fetch it again") from error


def read_plane(hdu: fits.ImageHDU | fits.PrimaryHDU, *, where: str) -> Plane:
    """Read the map of an image HDU; axes of length one are dropped.

    Parameters
    ----------
    hdu : ImageHDU or PrimaryHDU
        Image of any number type.
    where : str
        File (and extension) for error messages.

    Raises
    ------
    MapError
        If it is not a two-dimensional image of a reasonable size, or has no celestial WCS.
    """
    if hdu.data is None or not getattr(hdu, "is_image", False):
        raise MapError(f"{where}: not an image; expected a two-dimensional map")
    values = np.asarray(hdu.data)
    _check_shape(values.shape, where)
    kept = [axis for axis, length in enumerate(reversed(values.shape), start=1) if length > 1]
    native = values.dtype.newbyteorder("=") if values.dtype.kind == "f" else np.dtype(float)
    return Plane(values.squeeze().astype(native), _celestial_wcs(hdu.header, kept, where), hdu.header, where)


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


def wcs_header(header: fits.Header, *, where: str) -> fits.Header:
    """Return a copy of a header without the cards that slow down or mislead `astropy.wcs.WCS`.

    Commentary is dropped: CASA writes thousands of lines, which cost seconds. So is an equinox outside 1850 to 2100
    (0, say), with which astropy would correct positions for two thousand years; without it the frame is ICRS.
    """
    clean = fits.Header([card for card in header.cards if card.keyword not in ("HISTORY", "COMMENT", "")])
    for key in ("EQUINOX", "EPOCH"):
        equinox = clean.get(key)
        if isinstance(equinox, float | int) and not 1850 <= equinox <= 2100:
            logger.info("%s: %s %g is not a valid equinox; the frame is taken as ICRS", where, key, equinox)
            del clean[key]
    return clean


def _celestial_wcs(header: fits.Header, axes: list[int], where: str) -> WCS:
    """Return the celestial WCS of the pixel axes `axes` (FITS numbers)."""
    try:
        wcs = WCS(wcs_header(header, where=where))
        wcs = wcs if wcs.naxis == 2 else wcs.sub(axes)
        if wcs.is_celestial and np.all(proj_plane_pixel_scales(wcs) > 0):
            return wcs
    except (WcsError, ValueError, MemoryError, TypeError, KeyError) as error:
        raise MapError(f"{where}: the WCS cannot be read ({error}); correct CTYPE, CRVAL, CRPIX, CDELT") from error
    found = ", ".join(repr(header.get(f"CTYPE{axis}", "")) for axis in axes)
    raise MapError(
        f"{where}: no celestial WCS (CTYPE {found}); expected sky axes such as 'RA---TAN' and 'DEC--TAN' in the header"
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
