"""Small fields and map sets made on the spot."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm.maps import GasMaps, MapSet

KMS = u.km / u.s


def tan_wcs(shape, *, scale=0.0032, centre=(65.0, 27.5), flip=(-1, 1)):
    """A gnomonic WCS with the centre of the image at `centre` (deg)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = centre
    wcs.wcs.crpix = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    wcs.wcs.cdelt = flip[0] * scale, flip[1] * scale
    wcs.wcs.cunit = ["deg", "deg"]
    return wcs


def smooth_maps(shape, seed=0):
    """Column (cm-2), velocity, dispersion (km/s): plain float arrays that vary from pixel to pixel."""
    rng = np.random.default_rng(seed)
    return 10 ** rng.normal(22, 0.3, shape), rng.normal(1, 0.5, shape), rng.uniform(0.1, 0.8, shape)


def gas_maps(shape=(40, 50), *, distance=140 * u.pc, maps=None, **options):
    column, velocity, dispersion = smooth_maps(shape) if maps is None else maps
    wcs = options.pop("wcs", tan_wcs(shape))
    return GasMaps(
        column_density=column * u.cm**-2,
        velocity=velocity * KMS,
        velocity_dispersion=dispersion * KMS,
        wcs=wcs,
        distance=distance,
        **options,
    )


def map_set(n=6, side=8, *, seed=0, label_kind="sink", simulation="run", n_stars=3):
    column, velocity, dispersion = (values.astype(np.float32) for values in smooth_maps((n, side, side), seed))
    stars = QTable(
        {"star": np.arange(n) % n_stars, "mass": np.linspace(0.1, 5, n) * u.solMass, "time": np.ones(n) * u.Myr}
    )
    return MapSet(
        column_density=column * u.cm**-2,
        velocity=velocity * KMS,
        velocity_dispersion=dispersion * KMS,
        stars=stars,
        pixel_scale=4 / 512 * u.pc,
        depth=0.5 * u.pc,
        label_kind=label_kind,
        simulation=simulation,
        provenance="made in a test",
    )


def write_plane(path, values, wcs, bunit, **cards):
    header = wcs.to_header() if wcs is not None else fits.Header()
    if bunit is not None:
        header["BUNIT"] = bunit
    header.update(cards)
    fits.PrimaryHDU(np.asarray(values), header).writeto(path)
    return path


@pytest.fixture
def planes(tmp_path):
    """Write three single-plane files; keywords replace the values, unit or WCS of one: ``column_unit=None``, ..."""

    def write(shape=(24, 30), **changed):
        paths = {}
        defaults = zip(
            ("column", "velocity", "dispersion"), smooth_maps(shape), ("cm-2", "km s-1", "km/s"), strict=True
        )
        for role, values, unit in defaults:
            values = changed.get(role, values)
            wcs = changed.get(f"{role}_wcs", changed.get("wcs", tan_wcs(shape)))
            cards = changed.get(f"{role}_cards", {})
            paths[role] = write_plane(
                tmp_path / f"{role}.fits", values, wcs, changed.get(f"{role}_unit", unit), **cards
            )
        return paths

    return write
