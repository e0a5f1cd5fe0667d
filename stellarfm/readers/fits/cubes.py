"""Recognition of cubes in FITS files by their headers."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from astropy.io import fits

from stellarfm.exceptions import ReaderError
from stellarfm.maps.io.celestial_wcs import is_sky_axis
from stellarfm.maps.io.fits_image import check_hdus
from stellarfm.maps.io.missing_data import logged_warnings
from stellarfm.maps.io.plane_selection import parameter_planes

__all__ = ["cube_hdu", "cube_kind", "has_fits_signature", "is_sky_axis", "long_axes"]


def has_fits_signature(path: str | os.PathLike) -> bool:
    """Return True if a file begins as FITS files do, or is gzipped and named so; never raises."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    return start == b"SIMPLE  =" or (start.startswith(b"\x1f\x8b") and ".fits" in Path(path).name.lower())


def long_axes(header: fits.Header) -> list[int]:
    """Return the FITS numbers of the axes that are longer than one pixel."""
    return [axis for axis in range(1, header.get("NAXIS", 0) + 1) if header[f"NAXIS{axis}"] > 1]


def cube_hdu(hdus: fits.HDUList) -> fits.ImageHDU | fits.PrimaryHDU | None:
    """Return the first image if it has three axes longer than one pixel and is not a parameter cube, else None."""
    images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) > 0]
    cube = images[0] if images and len(long_axes(images[0].header)) == 3 else None
    return None if cube is None or parameter_planes(cube.header) else cube


def cube_kind(path: str | os.PathLike) -> str | None:
    """Return the kind of the cube in a FITS file; reads headers only and never raises.

    Parameters
    ----------
    path : path
        File that may be absent or of another format.

    Returns
    -------
    {"ppv", "ppp"} or None
        ``"ppv"`` if the first image is a cube with an axis on the sky, ``"ppp"`` if it is another cube, else None.
    """
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return _cube_kind(Path(path), (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=16)
def _cube_kind(path: Path, version: tuple[int, ...]) -> str | None:
    """Return the kind of a cube once per `version` of a file: three readers need it before and while they read."""
    if not has_fits_signature(path):
        return None
    try:
        with logged_warnings(str(path)), fits.open(path, memmap=True) as hdus:
            check_hdus(hdus, str(path))
            hdu = cube_hdu(hdus)
            if hdu is None:
                return None
            sky = any(is_sky_axis(str(hdu.header.get(f"CTYPE{axis}", ""))) for axis in long_axes(hdu.header))
            return "ppv" if sky else "ppp"
    except (ReaderError, OSError, fits.VerifyError, TypeError, ValueError, KeyError):
        return None
