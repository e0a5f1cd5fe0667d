"""Windows as training images: what they hold, and that no held-out star is ever given."""

import numpy as np
import pytest

from stellarfm.exceptions import InputNotFoundError, MapError
from stellarfm.maps import MapScaler, MapSet
from stellarfm.maps.dataset import MapSetDataset
from stellarfm.testing import DatasetConformance


@pytest.fixture(scope="module")
def path(cloud, tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "one.h5"
    cloud("one", seed=1).write(path)
    return str(path)


class TestConformance(DatasetConformance):
    plugin = MapSetDataset

    @pytest.fixture(autouse=True)
    def _options(self, path):
        self.options = {"path": path, "size": 32}


def stars_of(dataset, maps):
    """Masses identify stars in the pretended cloud."""
    masses = np.log10(maps.stars["mass"].value)
    return {int(np.argmin(np.abs(masses - dataset.label(i)[0]))) // 3 for i in range(len(dataset))}


def test_images_are_what_the_scaler_gives(path):
    maps = MapSet.read(path)
    dataset = MapSetDataset(path=path, size=32, part="all")
    scaled = MapScaler().fit(maps).transform(maps)
    images = np.stack([dataset.image(i) for i in range(len(dataset))])
    assert images.dtype == np.float32
    labels = np.array([dataset.label(i)[0] for i in range(len(dataset))])
    np.testing.assert_allclose(np.sort(labels), np.sort(np.log10(maps.stars["mass"].value)), rtol=1e-6)
    order = [int(np.argmin(((images[:, 0] - (0.2 * s[0] + 0.5)) ** 2).sum(axis=(1, 2)))) for s in scaled]
    assert sorted(order) == list(range(len(maps)))
    np.testing.assert_allclose((images[order] - 0.5) / 0.2, scaled, atol=1e-5)


def test_held_out_stars_are_never_given(path):
    maps = MapSet.read(path)
    seen = []
    for fold in range(4):
        dataset = MapSetDataset(path=path, size=32, folds=4, fold=fold)
        held = dataset.held_out()
        assert len(dataset) + len(held) == len(maps)
        assert not stars_of(dataset, maps) & stars_of(held, maps)
        same = MapSetDataset(path=path, size=32, folds=4, fold=fold, part="held-out")
        assert stars_of(same, maps) == stars_of(held, maps)
        assert same.held_out() is None
        seen.append(stars_of(held, maps))
    assert sorted(star for fold in seen for star in fold) == list(range(12))


def test_the_scaler_has_not_seen_what_is_held_out(path):
    maps = MapSet.read(path)
    dataset = MapSetDataset(path=path, size=32, folds=3)
    stars = stars_of(dataset, maps)
    train = maps[np.isin(np.arange(len(maps)) // 3, list(stars))]
    expected = MapScaler().fit(train).transform(train)
    images = np.stack([dataset.image(i) for i in range(len(dataset))])
    np.testing.assert_allclose(np.sort(images[:, 0].ravel()), np.sort(expected[:, 0].ravel()) * 0.2 + 0.5, atol=1e-5)


def test_a_simulation_can_be_held_out(cloud, tmp_path):
    paths = []
    for number, name in enumerate(("one", "two")):
        paths.append(str(tmp_path / f"{name}.h5"))
        cloud(name, n_stars=4 + number, seed=number).write(paths[-1])
    sizes = {
        fold: len(MapSetDataset(path=paths, size=32, by="simulation", folds=2, fold=fold).held_out()) for fold in (0, 1)
    }
    assert sorted(sizes.values()) == [12, 15]


def test_the_middle_of_larger_windows_is_taken(path):
    maps = MapSet.read(path)
    dataset = MapSetDataset(path=path, size=16, part="all", channels=1)
    assert dataset.image(0).shape == (1, 16, 16)
    brightest = np.stack([dataset.image(i)[0] for i in range(len(dataset))]).mean(axis=0)
    assert np.unravel_index(brightest.argmax(), (16, 16)) == (8, 8)
    assert maps.column_density.shape[1:] == (32, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64}, "size is 64, the windows have 32 pixels; expected at most 32"),
        ({"part": "test"}, "part is 'test'; expected one of train, held-out, all"),
        ({"by": "window"}, "by is 'window'; expected one of star, simulation"),
        ({"folds": 5, "fold": 5}, "fold 5 of 5 folds"),
        ({"folds": 50}, "50 folds of 12 groups; expected at most 12"),
        ({"channels": 4}, "channels is 4; expected 1 to 3"),
    ],
)
def test_options_that_do_not_fit(path, options, message):
    with pytest.raises(MapError, match=message):
        MapSetDataset(path=path, **{"size": 32, **options})


def test_no_file_and_no_masses(cloud, tmp_path):
    with pytest.raises(InputNotFoundError):
        MapSetDataset(path=str(tmp_path / "none.h5"))
    maps = cloud("one", seed=1)
    bare = MapSet(
        column_density=maps.column_density,
        velocity=maps.velocity,
        velocity_dispersion=maps.velocity_dispersion,
        stars=maps.stars["star", "axis"],
        pixel_scale=maps.pixel_scale,
    )
    bare.write(tmp_path / "bare.h5")
    with pytest.raises(MapError, match=r"bare.h5: no masses; expected a map set whose stars have known masses"):
        MapSetDataset(path=str(tmp_path / "bare.h5"), size=32)
