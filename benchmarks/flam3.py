"""Render genomes with `flam3-render` (Debian package flam3-utils), run as a program, for comparison.

The file format follows its documentation; the settings minimize the cost of everything but the chaos game: no
supersampling, no density estimation, the narrowest filter, one thread.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from stellarfm.fractals import Genome, Transform

PROGRAM = "flam3-render"
SETTINGS = {
    "supersample": "1",
    "filter": "0.1",
    "estimator_radius": "0",
    "estimator_minimum": "0",
    "temporal_samples": "1",
    "passes": "1",
    "brightness": "1",
    "gamma": "2",
    "palette_mode": "step",
}


def available() -> bool:
    """Return True if the program is installed."""
    return shutil.which(PROGRAM) is not None


def flame(genome: Genome, *, size: int, quality: float) -> str:
    """Return the XML of a genome in the window [-1, 1]^2 with `quality` points per pixel, including those outside."""
    root = ElementTree.Element(
        "flame", size=f"{size} {size}", center="0 0", scale=str(size / 2), quality=str(quality), **SETTINGS
    )
    for a_map in genome.maps:
        extra = {"weight": repr(a_map.probability), "color": repr(a_map.color), "color_speed": "0.5"}
        ElementTree.SubElement(root, "xform", **extra, **_attributes(a_map))
    if genome.final is not None:
        ElementTree.SubElement(root, "finalxform", color="0", color_speed="0", **_attributes(genome.final))
    for index in range(256):
        ElementTree.SubElement(root, "color", index=str(index), rgb="255 255 255")
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(transform: Transform) -> dict[str, str]:
    """Return the coefficients, column by column, and the weights of the variations."""
    weights = {name: repr(weight) for name, weight in transform.variations}
    post = {} if transform.post is None else {"post": _columns(transform.post)}
    return {"coefs": _columns(transform.affine), **post, **weights}


def _columns(affine: tuple[float, ...]) -> str:
    """Return (a, b, c, d, e, f) in the order of the file format: a d b e c f."""
    return " ".join(repr(affine[index]) for index in (0, 3, 1, 4, 2, 5))


def run(genome: Genome, *, size: int, quality: float) -> tuple[np.ndarray, float]:
    """Return the image, uint8 (size, size, 3), and the processor seconds of the whole program."""
    with tempfile.TemporaryDirectory() as folder:
        source, picture = Path(folder, "in.flam3"), Path(folder, "out.ppm")
        source.write_text(flame(genome, size=size, quality=quality))
        settings = {"in": str(source), "out": str(picture), "format": "ppm", "nthreads": "1", "isaac_seed": "stellarfm"}
        before = _children()
        subprocess.run([PROGRAM], env={**os.environ, **settings}, check=True, capture_output=True)
        seconds = _children() - before
        with Image.open(picture) as image:
            return np.asarray(image.convert("RGB")), seconds


def _children() -> float:
    """Return the processor seconds of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
