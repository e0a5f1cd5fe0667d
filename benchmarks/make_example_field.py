"""Cut the bundled example field from a map of a whole simulated cloud.

    python benchmarks/make_example_field.py ../shared/data/fields/cloud-c_z.fits stellarfm/data/example_field.fits

The simulated box is periodic, so the cut may cross its edge. It is placed such that it contains as many stars as
possible whose windows lie inside, and keeps its position on the sky. Stars outside the cut are removed from the table.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm.output import new_file

MAPS = ("COLUMN", "VELOCITY", "DISPERSION")
HALF_WINDOW = 32


def best_corner(stars: QTable, box: int, side: int) -> tuple[int, int]:
    """Return the lower left corner of the cut with most whole windows, and least overlap with the edge."""

    def rank(corner: tuple[int, int]) -> tuple[int, int]:
        x, y = inside(stars, box, corner)
        whole = (np.minimum(x, y) >= HALF_WINDOW) & (np.maximum(x, y) <= side - HALF_WINDOW - 1)
        return int(whole.sum()), -sum(min(c, box - c) for c in corner)

    return max(((x, y) for x in range(0, box, 8) for y in range(0, box, 8)), key=rank)


def inside(stars: QTable, box: int, corner: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel coordinates of the stars in the cut; the box is periodic."""
    return tuple((np.asarray(stars[name]) - c + 0.5) % box - 0.5 for name, c in zip(("x_pixel", "y_pixel"), corner))


def cut_map(hdu: fits.ImageHDU, corner: tuple[int, int], side: int) -> fits.ImageHDU:
    """Return a map of the cut, with its center at the same reference coordinates."""
    data = np.roll(hdu.data, (-corner[1], -corner[0]), axis=(0, 1))[:side, :side]
    header = hdu.header.copy()
    header["CRPIX1"] = header["CRPIX2"] = (side + 1) / 2
    return fits.ImageHDU(data, header, name=hdu.name)


def cut_stars(stars: QTable, box: int, corner: tuple[int, int], side: int, wcs: WCS) -> QTable:
    """Return the stars in the cut with their new positions."""
    x, y = inside(stars, box, corner)
    stars = stars.copy()
    stars["x_pixel"], stars["y_pixel"] = x, y
    sky = wcs.pixel_to_world(x, y).icrs
    stars["ra"], stars["dec"] = sky.ra.deg * stars["ra"].unit, sky.dec.deg * stars["dec"].unit
    return stars[(np.maximum(x, y) < side - 0.5)]


def make(source: Path, output: Path, side: int) -> None:
    """Write the cut of `source`."""
    stars = QTable.read(source, hdu="STARS")
    with fits.open(source) as hdus:
        box = hdus["COLUMN"].data.shape[0]
        corner = best_corner(stars, box, side)
        maps = [cut_map(hdus[name], corner, side) for name in MAPS]
        primary = fits.PrimaryHDU(header=hdus[0].header)
    for line in (
        f"{side} x {side} pixels of {source.name} (stellarfm developers),",
        f"from pixel {corner} (x, y; 0-based) on. The box is periodic,",
        "and so is the cut. The position on the sky is made up.",
        "The column density is that of 4 pc along the line of sight.",
    ):
        primary.header.add_history(line)
    kept = cut_stars(stars, box, corner, side, WCS(maps[0].header))
    kept.meta.clear()
    table = fits.table_to_hdu(kept)
    table.name = "STARS"
    table.header["LABELS"] = ("sink", "what the masses mean: all that a sink accreted")
    hdulist = fits.HDUList([primary, *maps, table])
    for hdu in hdulist:
        hdu.add_checksum(when="data and header of this HDU")
    with new_file(output, overwrite=True) as path:
        hdulist.writeto(path, overwrite=True)
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB, {len(kept)} of {len(stars)} stars, from pixel {corner}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--side", type=int, default=416)
    options = parser.parse_args()
    make(options.source, options.output, options.side)
