import inspect

import numpy as np
import pytest

from stellarfm import registry
from stellarfm.contracts import PretrainingDataset
from stellarfm.exceptions import FractalError
from stellarfm.fractals import FlameDataset, FractalDataset, FractalDBDataset, Genome, IFSDataset
from stellarfm.fractals.acceptance import Costs
from stellarfm.fractals.candidate_search import try_candidate
from stellarfm.fractals.tone_mapping import tone
from stellarfm.pretraining.data import batch_indices, image_loader

DATASETS = [FlameDataset, IFSDataset, FractalDBDataset]
INDICES = [0, 1, 2, 3, 7]


@pytest.fixture
def small():
    return FlameDataset(size=24, seed=4)


@pytest.mark.parametrize("dataset", DATASETS)
def test_images_keep_the_contract(dataset):
    images = dataset(size=32, count=5)
    assert isinstance(images, PretrainingDataset)
    assert len(images) == 5
    image = images.image(4)
    assert image.shape == (3, 32, 32)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert (image.std(axis=(1, 2)) > 0.03).all()


@pytest.mark.parametrize("name", ["flames", "ifs", "fractaldb"])
def test_datasets_are_registered(name):
    assert issubclass(registry.get("datasets", name), FractalDataset)
    assert {"size", "seed", "channels", "points", "threshold"} <= set(registry.options(registry.get("datasets", name)))


@pytest.mark.parametrize("dataset", DATASETS)
def test_all_spell_out_the_same_options(dataset):
    options = inspect.signature(dataset).parameters
    assert list(options) == list(inspect.signature(FractalDataset).parameters)
    assert {option.kind for option in options.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_order_does_not_matter(small):
    forward = [FlameDataset(size=24, seed=4).image(index) for index in INDICES]
    backward = [small.image(index) for index in reversed(INDICES)]
    np.testing.assert_array_equal(forward, backward[::-1])


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")  # on fewer cores
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_images_are_bit_equal_with_any_number_of_workers(small, workers):
    loader = image_loader(small, seed=3, batch_size=5, steps=(0, 2), workers=workers)
    batches = [batch.numpy() for batch in loader]
    for step, batch in enumerate(batches):
        indices = batch_indices(len(small), seed=3, step=step, batch_size=5)
        np.testing.assert_array_equal(batch, [FlameDataset(size=24, seed=4).image(index) for index in indices])


def test_seeds_and_indices_give_different_images():
    images = [FlameDataset(size=16, seed=seed).image(index) for seed in (0, 1) for index in (0, 1)]
    assert len({image.tobytes() for image in images}) == 4


def test_an_image_is_that_of_its_genome():
    dataset = FlameDataset(size=32, seed=9)
    item = dataset.render(2)
    histogram = try_candidate(dataset, dataset.compile(Genome.from_json(item.genome.to_json()))).histogram
    np.testing.assert_array_equal(tone(histogram, channels=3, color="moments", gamma=1.0), item.image)


def test_fewer_channels_are_the_first_ones():
    three, one = (FlameDataset(size=16, channels=channels).image(0) for channels in (3, 1))
    np.testing.assert_array_equal(one, three[:1])


def test_points_grow_with_the_area():
    assert FlameDataset().n_points == 60_000
    assert FlameDataset(size=128).n_points == 240_000
    assert FlameDataset(size=128, points=20_000).n_points == 20_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "size is 1; expected at least 8"),
        ({"size": 8.5}, "size is 8.5; expected an integer"),
        ({"points": 0}, "points is 0; expected at least 1"),
        ({"count": 0}, "count is 0; expected at least 1"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"seed": 2**64}, r"below 2\*\*64"),
        ({"channels": 4}, "channels is 4; expected 1 to 3"),
        ({"channels": 0}, "channels is 0; expected at least 1"),
        ({"threshold": 1.2}, "threshold is 1.2"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"gamma": 0.0}, "gamma is 0.0"),
        ({"attempts": 0}, "attempts is 0"),
        ({"window": "round"}, "unknown window 'round'; expected one of fixed, quantile, box"),
        ({"colour": "pink"}, "unknown colour 'pink'; expected one of moments, flame, none"),
    ],
)
@pytest.mark.parametrize("dataset", DATASETS)
def test_impossible_options_are_refused(dataset, options, message):
    with pytest.raises(FractalError, match=message):
        dataset(**options)


def test_a_threshold_that_is_never_met_ends_in_an_error():
    with pytest.raises(FractalError, match="none of 20 flames genomes covers 100%.*lower the threshold"):
        FlameDataset(size=64, points=4096, threshold=1.0, attempts=20).image(0)


def test_a_threshold_that_so_few_points_can_never_meet_is_refused_at_once():
    with pytest.raises(FractalError, match="2000 points can never cover 80% of 64 x 64 pixels; lower the threshold"):
        FlameDataset(size=64, points=2000)


def test_an_image_says_what_it_cost(small):
    for index in INDICES:
        item = small.render(index)
        assert item.genome == small.genome(index, attempt=item.attempts - 1)
        assert 1 <= item.renders <= item.attempts


def test_cheap_tests_keep_the_cost_of_an_image_low():
    costs = Costs()
    dataset = FlameDataset(size=64)
    for index in range(40):
        item = dataset.render(index)
        costs.add(candidates=item.attempts, renders=item.renders)
    assert costs.candidates > 2 * costs.images
    assert costs.renders < 1.8 * costs.images


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_out_of_range(index):
    with pytest.raises(IndexError, match="expected 0 to 9"):
        FlameDataset(count=10).image(index)
