import numpy as np

from stellarfm.inference.segmentation.stitching import block_mean, sample, stitch


def test_stitched_tiles_give_back_a_map_that_patches_can_show():
    """Patches whose feature is their own mean: where the map is linear, so is what is stitched."""
    y, x = np.indices((40, 48), dtype=float)
    corners = np.array([(row, column) for row in (0, 4, 8, 12, 16) for column in (0, 4, 12, 20, 24)])
    tiles = np.stack([(y + 2 * x)[r : r + 24, c : c + 24] for r, c in corners])
    patches = block_mean(tiles, 8)[..., None].astype(np.float32)
    features, weight = stitch(patches, np.ones(patches.shape[:3]), corners, patch_size=8, cell=4, shape=(40, 48))
    assert features.shape == (10, 12, 1)
    assert np.all(weight > 0)
    inner = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(features[..., 0][inner], block_mean(y + 2 * x, 4)[inner], atol=3)


def test_weights_choose_between_tiles():
    patches = np.stack([np.full((2, 2, 1), 1.0), np.full((2, 2, 1), 4.0)])
    weights = np.stack([np.full((2, 2), 2.0), np.full((2, 2), 1.0)])
    features, _ = stitch(patches, weights, np.array([(0, 0), (0, 4)]), patch_size=8, cell=4, shape=(16, 20))
    np.testing.assert_allclose(features[0, :, 0], [1, 2, 2, 2, 4])


def test_cells_without_patches_are_empty_and_tiles_may_hang_over():
    features, weight = stitch(
        np.ones((1, 2, 2, 1)), np.array([[[1.0, 1], [1, 0]]]), np.array([(-8, -8)]), patch_size=8, cell=4, shape=(10, 9)
    )
    assert features.shape == (3, 3, 1)
    assert not weight.any()
    assert not features.any()


def test_block_mean_ignores_missing_pixels_and_pads():
    values = np.arange(20.0).reshape(4, 5)
    values[0, 0] = np.nan
    means = block_mean(values, 2)
    np.testing.assert_allclose(means[0], [(1 + 5 + 6) / 3, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2])
    assert np.isnan(block_mean(np.full((2, 2), np.nan), 2)).all()


def test_sample_is_linear_between_cells_and_covers_only_valid_ones():
    grid = np.arange(12.0).reshape(3, 4, 1)
    valid = np.ones((3, 4), bool)
    valid[0, 0] = False
    y, x = np.array([1.0, 1.5, 0.0, -0.7, 2.0]), np.array([1.5, 2.0, 0.0, 1.0, 3.4])
    values, covered = sample(grid, valid, y, x)
    np.testing.assert_allclose(values[:2, 0], [5.5, 8])
    assert covered.tolist() == [True, True, False, False, True]
