import numpy as np

from stellarfm.readers.hdf5.hilbert import hilbert_keys


def test_the_curve_takes_single_steps_through_every_cell():
    cells = np.stack(np.meshgrid(*3 * [np.arange(8)], indexing="ij"), axis=-1).reshape(-1, 3)
    keys = hilbert_keys(cells + 0.5, lower=np.zeros(3), upper=np.full(3, 8.0), bits=3)
    assert np.array_equal(np.sort(keys), np.arange(512))
    assert np.all(np.abs(np.diff(cells[np.argsort(keys)], axis=0)).sum(axis=1) == 1)


def test_finer_keys_refine_coarser_ones():
    points = np.random.default_rng(0).uniform(-1, 3, (500, 3))
    box = {"lower": np.full(3, -1.0), "upper": np.full(3, 3.0)}
    assert np.array_equal(hilbert_keys(points, **box, bits=6) >> np.uint64(6), hilbert_keys(points, **box, bits=4))


def test_points_on_and_beyond_the_faces_have_keys():
    points = np.array([[0.0, 0, 0], [1, 1, 1], [-5, 0.5, 7]])
    keys = hilbert_keys(points, lower=np.zeros(3), upper=np.ones(3))
    assert keys.max() < 2**60
