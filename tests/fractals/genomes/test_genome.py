import json

import pytest

from stellarfm.exceptions import FractalError, StellarFMError
from stellarfm.fractals import SAMPLERS, FlameMap, Genome, Transform, sample_genome

HALF = (0.5, 0.0, 0.0, 0.0, 0.5, 0.0)


@pytest.fixture
def genome():
    bent = FlameMap(affine=HALF, variations=(("swirl", 0.3), ("julia", 0.7)), post=HALF, probability=2.0, color=0.1)
    return Genome(maps=(bent, FlameMap(affine=HALF)), final=Transform(affine=HALF, variations=(("bubble", 1.0),)))


def changed(genome, change):
    content = json.loads(genome.to_json())
    change(content)
    return json.dumps(content)


def test_json_gives_an_equal_genome_back(genome):
    assert Genome.from_json(genome.to_json()) == genome


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_json_is_exact_for_sampled_genomes(sampler):
    for index in range(20):
        genome = sample_genome(sampler, seed=3, index=index)
        assert Genome.from_json(genome.to_json()) == genome


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("schema"), "not a genome"),
        (lambda c: c.update(version=99), "version 99"),
        (lambda c: c.pop("maps"), '"maps" is missing'),
        (lambda c: c.update(maps=c["maps"][:1]), "1 maps; expected 2 to 8"),
        (lambda c: c.update(maps=c["maps"] * 5), "10 maps; expected 2 to 8"),
        (lambda c: c["maps"][1].pop("affine"), "map 1: 'affine' is missing"),
        (lambda c: c["maps"][0].update(affine=[1, 2, 3]), "six finite numbers"),
        (lambda c: c["maps"][0].update(affine=[1, 2, 3, 4, 5, "x"]), "map 0"),
        (lambda c: c["maps"][0].update(post=[float("nan")] * 6), "six finite numbers"),
        (lambda c: c["maps"][0].update(variations={"wobble": 1.0}), "unknown variation 'wobble'"),
        (lambda c: c["maps"][0].update(variations={}), "variations of a map are empty"),
        (lambda c: c["maps"][0].update(variations={"linear": float("inf")}), "finite"),
        (lambda c: c["maps"][0].update(probability=0), "positive"),
        (lambda c: c["maps"][0].update(colour=1.5), r"\[0, 1\]"),
        (lambda c: c["maps"].__setitem__(0, "map"), "map 0"),
        (lambda c: c.update(final={"affine": [0] * 5}), "final map"),
    ],
)
def test_invalid_json_is_refused_with_the_reason(genome, change, message):
    with pytest.raises(FractalError, match=message) as caught:
        Genome.from_json(changed(genome, change))
    assert "\n" not in str(caught.value)


def test_a_repeated_variation():
    with pytest.raises(FractalError, match="repeat a name"):
        FlameMap(affine=HALF, variations=(("swirl", 0.3), ("swirl", 0.7)))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3"])
def test_text_that_is_not_a_genome(text):
    with pytest.raises(FractalError, match=r"JSON"):
        Genome.from_json(text)


def test_the_error_is_also_a_value_error():
    assert issubclass(FractalError, ValueError)
    assert issubclass(FractalError, StellarFMError)
