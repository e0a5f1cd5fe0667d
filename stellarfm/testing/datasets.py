"""Conformance checks of datasets."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from stellarfm import registry
from stellarfm.contracts import PretrainingDataset
from stellarfm.testing.base import Conformance

__all__ = ["DatasetConformance"]


class DatasetConformance(Conformance):
    """Checks of a `PretrainingDataset`: images are a pure function of (options, index).

    Examples
    --------
    >>> from stellarfm.fractals.datasets import FlameDataset
    >>> from stellarfm.testing import DatasetConformance
    >>> class TestFlames(DatasetConformance):
    ...     plugin = FlameDataset
    >>> TestFlames().test_length()
    """

    contract = PretrainingDataset
    required_options = ("size", "seed", "channels")
    options: ClassVar[dict[str, Any]] = {"size": 32}
    indices: ClassVar[tuple[int, ...]] = (0, 3, 1)

    def test_length(self) -> None:
        """Check that the length is a positive integer, larger than the indices in use."""
        assert len(self.make()) > max(self.indices), f"len() is {len(self.make())}; these checks need more images"

    def test_images(self) -> None:
        """Check that images are float32, of the given size and channels, finite, within the limits and not constant."""
        low, high = self.plugin.limits
        for channels in (1, 3):
            dataset = self.make(channels=channels)
            image = dataset.image(self.indices[0])
            size = self.options.get("size", registry.options(self.plugin)["size"].default)
            assert isinstance(image, np.ndarray), f"image() returned {type(image)}, expected numpy.ndarray"
            assert image.dtype == np.float32, f"image() returned {image.dtype}, expected float32"
            assert image.shape == (channels, size, size), (
                f"image() returned {image.shape}, not {(channels, size, size)}"
            )
            assert np.isfinite(image).all(), "the image is not finite"
            assert image.min() >= low, f"the image has a minimum of {image.min()}, expected at least {low}"
            assert image.max() <= high, f"the image has a maximum of {image.max()}, expected at most {high}"
            assert image.std() > 0, "the image is constant"

    def test_order_of_calls_does_not_matter(self) -> None:
        """Check that an image depends neither on earlier calls nor on the instance."""
        dataset = self.make()
        forwards = [dataset.image(index).copy() for index in self.indices]
        for index, expected in reversed(list(zip(self.indices, forwards))):
            assert np.array_equal(dataset.image(index), expected), f"image {index} depends on the order of calls"
            assert np.array_equal(self.make().image(index), expected), f"image {index} depends on the instance"

    def test_callers_own_their_images(self) -> None:
        """Check that changing an image in place does not change later ones."""
        dataset = self.make()
        image = dataset.image(self.indices[0])
        expected = image.copy()
        image[...] = 0.5
        assert np.array_equal(dataset.image(self.indices[0]), expected), "images share memory with the dataset"

    def test_global_random_state_is_left_alone(self) -> None:
        """Check that an image neither depends on the global generators of `random` and numpy nor advances them."""
        dataset = self.make()
        images = []
        for seed in (1, 2):
            with _global_seed(seed):
                before = _global_state()
                images.append(dataset.image(self.indices[0]))
                assert _global_state() == before, "image() draws from a global random generator"
        assert np.array_equal(*images), "image() depends on a global random generator"

    def test_another_process_sees_the_same(self) -> None:
        """Check that a spawned process, such as a worker of a data loader, makes the same images."""
        dataset = self.make()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            remote = list(pool.map(dataset.image, self.indices))
        for index, image in zip(self.indices, remote):
            assert np.array_equal(image, dataset.image(index)), f"image {index} differs in another process"

    def test_seed_and_index_matter(self) -> None:
        """Check that another seed or index gives another image."""
        first, second = self.indices[:2]
        image = self.make(seed=0).image(first)
        assert not np.array_equal(image, self.make(seed=1).image(first)), "the seed changes nothing"
        assert not np.array_equal(image, self.make(seed=0).image(second)), "the index changes nothing"


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators, and restore their state afterwards."""
    state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)  # the legacy generator, because that is what a plugin might misuse
    try:
        yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])


def _global_state() -> tuple[Any, bytes]:
    """Return the state of the global generators in a form that can be compared."""
    legacy: Any = np.random.get_state(legacy=False)
    return random.getstate(), legacy["state"]["key"].tobytes() + bytes(str(legacy["state"]["pos"]), "ascii")
