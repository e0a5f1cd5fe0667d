"""Genomes and images of an earlier day: what was rendered once is rendered again, bit for bit."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from stellarfm.fractals import FlameDataset, FractalDBDataset
from stellarfm.fractals.datasets import GenomeDataset, read_genomes
from stellarfm.fractals.export.image_encoding import as_bytes

GENOME = Path(__file__).parent / "stored" / "genome.json"


def digest(image):
    """Of the 256 levels, which the last bit of a logarithm does not touch."""
    return hashlib.sha256(as_bytes(image).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("color", "expected"),
    [("moments", "53ef0435f6f07758"), ("flame", "12dc8f771317b95c"), ("none", "5fdc090a1cfe9f1e")],
)
def test_a_stored_genome_is_rendered_to_the_stored_image(color, expected):
    image = GenomeDataset(genomes=read_genomes(GENOME), size=64, colour=color).image(0)
    assert image.std() > 0.1
    assert digest(image) == expected


# Other hashes mean other images under the old (seed, index), which a resumed run would notice. `ifs` is not among them:
# its sampler takes sines, whose last bit is the platform's.
@pytest.mark.parametrize(
    ("dataset", "expected"), [(FlameDataset, "3077a74ec28ab7e9"), (FractalDBDataset, "96128ea06d8c0e34")]
)
def test_numbered_images_stay_what_they_were(dataset, expected):
    images = [dataset(size=32, seed=7).image(index) for index in range(3)]
    assert digest(np.stack(images)) == expected
