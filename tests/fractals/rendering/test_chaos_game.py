import numpy as np
import pytest

from stellarfm.exceptions import FractalError
from stellarfm.fractals import FlameMap, Genome
from stellarfm.fractals.genomes.variations import VARIATIONS
from stellarfm.fractals.rendering import compile_genome
from stellarfm.fractals.rendering.chaos_game import WALKERS, mix, plan_run, seed_key

HALF = (0.5, 0.0, 0.0, 0.0, 0.5, 0.0)


@pytest.mark.parametrize("points", [1, 256, 257, 937, 32_768, 60_000, 65_536, 10**6, 10**9])
def test_a_plan_has_room_for_the_points_and_little_more(points):
    ensembles, steps, per_step = plan_run(points)
    assert 0 <= steps * per_step - points < per_step <= ensembles * WALKERS
    assert steps <= 256
    assert steps >= (128 if ensembles > 1 else min(points, 17))


def test_hashes_are_a_permutation_that_mixes():
    numbers = mix(np.arange(2**16))
    assert len(np.unique(numbers)) == 2**16
    bits = (numbers[:, None] >> np.arange(32)) & 1
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.01)
    changed = ((mix(np.arange(2**16) ^ 1) ^ numbers)[:, None] >> np.arange(32)) & 1
    np.testing.assert_allclose(changed.mean(axis=0), 0.5, atol=0.05)


def test_seeds_of_64_bits_have_keys_of_their_own():
    seeds = [0, 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    assert len({seed_key(seed) for seed in seeds}) == len(seeds)


@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-300])
def test_choices_follow_the_probabilities_whatever_their_scale(scale):
    maps = tuple(FlameMap(affine=HALF, probability=scale * share) for share in (1, 2, 5))
    table = compile_genome(Genome(maps=maps)).choice
    np.testing.assert_array_equal(np.bincount(table), [512, 1024, 2560])


def test_variations_are_in_order_without_those_that_do_not_count():
    terms = (("swirl", 0.5), ("linear", 0.25), ("julia", 0.0), ("bubble", 1e-60))
    program = compile_genome(Genome(maps=(FlameMap(affine=HALF, variations=terms), FlameMap(affine=HALF))))
    assert program.first.tolist() == [0, 2, 3, 4]
    assert [VARIATIONS[code] for code in program.code] == ["linear", "swirl", "linear", "linear"]
    assert program.weight.tolist() == [0.25, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("fields", [{"affine": (1e60, *HALF[1:])}, {"affine": HALF, "variations": (("swirl", 1e60),)}])
def test_numbers_that_32_bits_cannot_hold(fields):
    with pytest.raises(FractalError, match="exceeds 3e38"):
        compile_genome(Genome(maps=(FlameMap(**fields), FlameMap(affine=HALF))))
