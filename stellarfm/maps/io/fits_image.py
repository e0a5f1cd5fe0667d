"""One map in a FITS file: numbers, unit, celestial WCS. Where an observer's header is doubted."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, WcsError
from astropy.wcs.utils import proj_plane_pixel_scales

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError, UnitsError
from stellarfm.maps.io.missing_data import logged_warnings

__all__ = ["Plane", "open_fits", "read_plane", "wcs_header"]

logger = logging.getLogger("stellarfm")

#: A map narrower than this holds no structure to learn from.
SMALLEST_SIDE = 8


@dataclass(frozen=True, eq=False)
class Plane:
    """A two-dimensional map as stored.

    Attributes
    ----------
    values : ndarray
        Shape (ny, nx), floating point.
    wcs : WCS
        Two-dimensional and celestial.
    header : fits.Header
        Of its HDU.
    where : str
        File and extension, for messages.
    """

    values: np.ndarray
    wcs: WCS
    header: fits.Header
    where: str

    def unit(self) -> str:
        """BUNIT as written; raises `UnitsError` if there is none."""
        text = str(self.header.get("BUNIT", "")).strip()
        if not text:
            raise UnitsError(
                f"{self.where}: BUNIT is missing; expected a unit such as 'cm-2' or 'km s-1' in the header"
            )
        return text


@contextmanager
def open_fits(source: str | os.PathLike | fits.HDUList) -> Iterator[tuple[fits.HDUList, str]]:
    """Yield an open HDU list and its name; warnings become log messages, failures `ReaderError`."""
    if isinstance(source, fits.HDUList):
        name = source.filename() or "HDUList"
        with logged_warnings(name):
            yield source, name
        return
    path = Path(source)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    with logged_warnings(str(path)), _reader_errors(path), fits.open(path, memmap=False) as hdus:
        yield hdus, str(path)


@contextmanager
def _reader_errors(path: Path) -> Iterator[None]:
    """Turn what astropy raises on a foreign or truncated file into one line about it."""
    try:
        yield
    except (InputNotFoundError, MapError, ReaderError):
        raise
    except (OSError, fits.VerifyError, TypeError, ValueError, KeyError, IndexError) as error:
        raise ReaderError(f"{path}: not a FITS file, or a truncated one ({error}); fetch it again") from error


def read_plane(hdu: fits.ImageHDU | fits.PrimaryHDU, *, where: str) -> Plane:
    """The map in an HDU, degenerate axes squeezed.

    Raises
    ------
    MapError
        If it is no two-dimensional image of a reasonable size, or has no celestial WCS.
    """
    if hdu.data is None or not getattr(hdu, "is_image", False):
        raise MapError(f"{where}: no image; expected a two-dimensional map")
    values = np.asarray(hdu.data)
    _check_shape(values.shape, where)
    kept = [axis for axis, length in enumerate(reversed(values.shape), start=1) if length > 1]
    native = values.dtype.newbyteorder("=") if values.dtype.kind == "f" else np.dtype(float)
    return Plane(values.squeeze().astype(native), _celestial(hdu.header, kept, where), hdu.header, where)


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    """Refuse spectra, cubes and stamps."""
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
    """The cards that a WCS may believe.

    Commentary goes: CASA writes thousands of lines, which cost seconds. So does an equinox that no catalogue ever had
    (0, say): astropy would precess the field by two thousand years; without it the frame is ICRS.
    """
    clean = fits.Header([card for card in header.cards if card.keyword not in ("HISTORY", "COMMENT", "")])
    for key in ("EQUINOX", "EPOCH"):
        equinox = clean.get(key)
        if isinstance(equinox, float | int) and not 1850 <= equinox <= 2100:
            logger.info("%s: %s %g is no equinox; the frame is taken as ICRS", where, key, equinox)
            del clean[key]
    return clean


def _celestial(header: fits.Header, axes: list[int], where: str) -> WCS:
    """The celestial WCS of the pixel axes that are kept."""
    try:
        wcs = WCS(wcs_header(header, where=where))
        wcs = wcs if wcs.naxis == 2 else wcs.sub(axes)
        if wcs.is_celestial and np.all(proj_plane_pixel_scales(wcs) > 0):
            return wcs
    except (WcsError, ValueError, MemoryError, TypeError, KeyError) as error:
        raise MapError(f"{where}: the WCS cannot be read ({error}); mend CTYPE, CRVAL, CRPIX, CDELT") from error
    found = ", ".join(repr(header.get(f"CTYPE{axis}", "")) for axis in axes)
    raise MapError(
        f"{where}: no celestial WCS (CTYPE {found}); expected sky axes such as 'RA---TAN' and 'DEC--TAN' in the header"
    )
