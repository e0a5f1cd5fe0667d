"""Numbers that no change of the code's structure may move: fractals, projection, windows, scaling, features."""

import hashlib

import numpy as np
import pytest
from astropy.table import QTable

from stellarfm import GasMaps, MapScaler, registry
from stellarfm.data import EXAMPLE_FIELD
from stellarfm.maps import windows_around
from stellarfm.simulations import project

#: Digest of three flames, and `moments` of the maps, scaled windows and features below.
FLAMES = "0a5c33ccb98babfa"
PROJECTION = {
    "column_density": (1.063383302e22, 1.20953887e21, 1.259079153e18),
    "velocity": (0.05258209753, 0.3992207667, 0.0003979363468),
    "velocity_dispersion": (0.8565274116, 0.2904782099, -0.0008075291014),
}
SCALED = [
    (0.061977886, 1.132144, -0.00015580925),
    (-0.16377792, 0.95674589, 0.00030749366),
    (-0.022889225, 1.0959121, 0.0011461809),
]
FEATURES = (0.0, 0.99997907, -0.0076672381)


def moments(values):
    """Return mean, standard deviation and a position-weighted sum, which together see any moved pixel."""
    values = np.asarray(values, dtype=np.float64)
    weights = np.sin(np.arange(values.size)).reshape(values.shape)
    return np.nanmean(values), np.nanstd(values), np.nansum(weights * values) / values.size


@pytest.fixture(scope="module")
def example_windows():
    maps = GasMaps.read(EXAMPLE_FIELD)
    stars = QTable.read(EXAMPLE_FIELD, hdu="STARS")[:6]
    return windows_around(maps, stars, pixels=64, pixel_scale=maps.pixel_scale)


def test_flames():
    images = [registry.create("datasets", "flames", size=32, seed=5).image(index) for index in range(3)]
    digest = hashlib.sha256(np.stack(images).tobytes()).hexdigest()
    assert digest[:16] == FLAMES


@pytest.mark.parametrize("name", ["column_density", "velocity", "velocity_dispersion"])
def test_projection(name, make_snapshot):
    maps = project(make_snapshot(n_stars=3, seed=11), width="0.4 pc", pixels=16)
    np.testing.assert_allclose(moments(getattr(maps, name).value), PROJECTION[name], rtol=1e-6)


@pytest.mark.parametrize("channel", range(3))
def test_windows_and_scaling(channel, example_windows):
    scaled = MapScaler().fit(example_windows).transform(example_windows)
    np.testing.assert_allclose(moments(scaled[:, channel]), SCALED[channel], rtol=1e-4)


def test_features(example_windows):
    torch = pytest.importorskip("torch")
    images = torch.as_tensor(np.asarray(MapScaler().fit(example_windows).transform(example_windows)))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        encoder = registry.create("encoders", "dinov2-vit-nano8", image_size=64).eval()
        features = encoder.encode(torch.nan_to_num(images))
    np.testing.assert_allclose(moments(features.image.numpy()), FEATURES, rtol=1e-3, atol=1e-6)
