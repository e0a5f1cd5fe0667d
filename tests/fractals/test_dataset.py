import inspect
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from stellarfm import registry
from stellarfm.contracts import PretrainingDataset
from stellarfm.exceptions import FractalError
from stellarfm.fractals import FlameDataset, FractalDataset, Genome, IFSDataset
from stellarfm.fractals.tone import tone

DATASETS = [FlameDataset, IFSDataset]
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


@pytest.mark.parametrize("name", ["flames", "ifs"])
def test_datasets_are_registered(name):
    assert issubclass(registry.get("datasets", name), FractalDataset)
    assert {"size", "seed", "channels", "points", "threshold"} <= set(registry.options(registry.get("datasets", name)))


def test_both_spell_out_the_same_options():
    assert list(inspect.signature(FlameDataset).parameters) == list(inspect.signature(IFSDataset).parameters)


def test_order_does_not_matter(small):
    forward = [FlameDataset(size=24, seed=4).image(index) for index in INDICES]
    backward = [small.image(index) for index in reversed(INDICES)]
    np.testing.assert_array_equal(forward, backward[::-1])


@pytest.mark.parametrize("workers", [1, 4])
def test_images_are_bit_equal_in_any_number_of_processes(small, workers):
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        np.testing.assert_array_equal(list(pool.map(small.image, INDICES)), list(map(small.image, INDICES)))


def test_seeds_and_indices_give_different_images():
    images = [FlameDataset(size=16, seed=seed).image(index) for seed in (0, 1) for index in (0, 1)]
    assert len({image.tobytes() for image in images}) == 4


def test_an_image_is_that_of_its_genome():
    dataset = FlameDataset(size=32, seed=9)
    item = dataset.render(2)
    histogram = dataset.histogram(Genome.from_json(item.genome.to_json()))
    np.testing.assert_array_equal(tone(histogram, channels=3, colour="moments", gamma=1.0), item.image)


def test_fewer_channels_are_the_first_ones():
    three, one = (FlameDataset(size=16, channels=channels).image(0) for channels in (3, 1))
    np.testing.assert_array_equal(one, three[:1])


def test_points_grow_with_the_area():
    assert FlameDataset().points == 60_000
    assert FlameDataset(size=128).points == 240_000
    assert FlameDataset(size=128, points=1000).points == 1000


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
        FlameDataset(size=64, points=2000, threshold=1.0, attempts=20).image(0)


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_out_of_range(index):
    with pytest.raises(IndexError, match="expected 0 to 9"):
        FlameDataset(count=10).image(index)
