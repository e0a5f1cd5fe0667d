import hashlib

import numpy as np
import pytest

from stellarfm.exceptions import FractalError
from stellarfm.fractals import SAMPLERS, VARIATIONS, sample_genome

# Only additions and multiplications of raw Philox numbers: the same on every platform. Encoders have been pretrained on
# this stream; a new hash means other images under the old (seed, index).
FLAMES_HASH = "bfb78bf19e914cdf61037a8b2e42c67bd9fe973e3a66a8436c9af335735544e3"


def test_the_stream_of_flames_is_the_one_that_encoders_were_trained_on():
    text = "\n".join(sample_genome("flames", seed=0, index=i).to_json() for i in range(20))
    assert hashlib.sha256(text.encode()).hexdigest() == FLAMES_HASH


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_genome_depends_on_every_part_of_its_address(sampler):
    addresses = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**64 - 1, 0, 0)]
    genomes = {sample_genome(sampler, seed=s, index=i, attempt=a) for s, i, a in addresses}
    assert len(genomes) == len(addresses)
    assert sample_genome(sampler, seed=1, index=0) == sample_genome(sampler, seed=1, index=0)


def test_flames_use_every_variation_and_number_of_maps():
    genomes = [sample_genome("flames", seed=5, index=i) for i in range(300)]
    assert {len(g.maps) for g in genomes} == set(range(2, 9))
    assert {name for g in genomes for m in g.maps for name, _ in m.variations} == set(VARIATIONS)


def test_ifs_singular_values_add_up_as_prescribed():
    for index in range(100):
        genome = sample_genome("ifs", seed=2, index=index)
        matrices = np.array([m.affine for m in genome.maps]).reshape(-1, 2, 3)[:, :, :2]
        first, second = np.linalg.svd(matrices, compute_uv=False).T
        n = len(genome.maps)
        assert (first < 1 + 1e-9).all()
        assert (5 + n) / 2 - 1e-9 <= (first + 2 * second).sum() <= (6 + n) / 2 + 1e-9


def test_fractaldb_takes_maps_in_proportion_to_their_area():
    genomes = [sample_genome("fractaldb", seed=2, index=index) for index in range(100)]
    assert {len(g.maps) for g in genomes} == set(range(2, 9))
    affine = np.array([m.affine for g in genomes for m in g.maps])
    assert np.abs(affine).max() <= 1
    assert np.abs(affine.mean(axis=0)).max() < 0.1
    area = np.abs(np.linalg.det(affine.reshape(-1, 2, 3)[:, :, :2]))
    np.testing.assert_allclose([m.probability for g in genomes for m in g.maps], np.maximum(area, 1e-3))


def test_unknown_sampler_and_negative_seed():
    with pytest.raises(FractalError, match="unknown sampler 'ferns'; the samplers are flames, ifs, fractaldb"):
        sample_genome("ferns", seed=0, index=0)
    with pytest.raises(FractalError, match="seed -1"):
        sample_genome("flames", seed=-1, index=0)
