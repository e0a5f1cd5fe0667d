"""Own images as a pretraining dataset: values, order, and what the training loop receives."""

import h5py
import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image
from safetensors.torch import load_file

from stellarfm.cli.main import main
from stellarfm.exceptions import InputNotFoundError, MapError
from stellarfm.fractals import FlameDataset
from stellarfm.maps.image_dataset import ImageDataset
from stellarfm.pretraining.data import batch_indices, image_loader
from stellarfm.testing import DatasetConformance


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder with subfolders, all formats, and a file that is not an image."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    (folder / "sub").mkdir()
    (folder / "notes.txt").write_text("none")
    for name in ("a.png", "sub/b.JPG", "c.jpeg"):
        Image.fromarray(rng.integers(0, 255, (40, 32, 3), dtype=np.uint8)).save(folder / name)
    Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / "gray.png")
    fits.writeto(folder / "map.fits", rng.lognormal(size=(48, 40)))
    assert main(["fractals", "--count", "5", "--size", "32", "--shard-size", "2", "--output", str(folder / "h5")]) == 0
    return str(folder)


class TestConformance(DatasetConformance):
    plugin = ImageDataset

    @pytest.fixture(autouse=True)
    def _options(self, mixed):
        self.options = {"path": mixed, "size": 24}


def test_every_image_occurs_once_per_seed(mixed):
    for seed in (0, 1):
        dataset = ImageDataset(path=mixed, size=16, seed=seed)
        assert len(dataset) == 10
        assert len({dataset.image(index).tobytes() for index in range(10)}) == 10


@pytest.mark.parametrize("options", [("--shard-size", "2"), ()])
def test_stored_fractals_are_those_rendered_on_the_fly(tmp_path, options):
    assert main(["fractals", "--count", "5", "--size", "16", *options, "--output", str(tmp_path / "images")]) == 0
    dataset = ImageDataset(path=str(tmp_path / "images"), size=16)
    stored = [dataset.image(int(index)) for index in np.argsort(dataset._order)]
    np.testing.assert_allclose(
        stored, [FlameDataset(size=16).image(index) for index in range(5)], atol=0.5 / 255 + 1e-6
    )


def test_limits_of_hdf5_files(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file.attrs.update(schema="stellarfm-images", schema_version=1, limits=[-1.0, 3.0])
        file["images"] = np.array([[[[0, 255], [51, 102]]]], dtype=np.uint8)
    dataset = ImageDataset(path=str(tmp_path / "one.h5"), size=2, channels=1)
    assert dataset.limits == (-1.0, 3.0)
    np.testing.assert_allclose(dataset.image(0)[0], [[-1.0, 3.0], [-0.2, 0.6]], atol=1e-6)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "two.png")
    with pytest.raises(MapError, match="different limits"):
        ImageDataset(path=str(tmp_path))


def test_fits_images_are_standardized_one_by_one(tmp_path):
    values = np.random.default_rng(0).normal(5.0, 3.0, (64, 64))
    values[0, :5] = np.nan
    fits.writeto(tmp_path / "a.fits", values)
    image = ImageDataset(path=str(tmp_path), size=64, channels=1).image(0)
    assert np.median(image) == pytest.approx(0.5, abs=1e-3)
    assert image.std() == pytest.approx(0.2, rel=0.1)
    assert (image[0, 0, :5] == 0.5).all()
    fits.writeto(tmp_path / "a.fits", 10.0 ** np.nan_to_num(values), overwrite=True)
    log = ImageDataset(path=str(tmp_path), size=64, channels=1, stretch="log").image(0)
    np.testing.assert_allclose(log[0, 5:], image[0, 5:], atol=5e-3)


def test_fits_channels_come_first(tmp_path):
    fits.writeto(tmp_path / "cube.fits", np.random.default_rng(0).normal(size=(2, 9, 7)))
    dataset = ImageDataset(path=str(tmp_path), size=7, channels=2)
    assert dataset.image(0).shape == (2, 7, 7)
    with pytest.raises(MapError, match=r"cube.fits: image has 2 channels, channels is 3"):
        ImageDataset(path=str(tmp_path), size=7).image(0)


def test_a_constant_or_blank_fits_image_is_gray(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.full((8, 8), np.nan))
    fits.writeto(tmp_path / "b.fits", np.full((8, 8), 7.0))
    dataset = ImageDataset(path=str(tmp_path), size=8)
    assert all((dataset.image(index) == 0.5).all() for index in range(2))


def test_pictures_of_8_and_16_bits_and_one_channel(tmp_path):
    Image.fromarray(np.array([[0, 65535], [13107, 26214]], np.uint16)).save(tmp_path / "deep.png")
    expected = [[0.0, 1.0], [0.2, 0.4]]
    np.testing.assert_allclose(ImageDataset(path=str(tmp_path), size=2).image(0)[2], expected, atol=1e-6)
    Image.fromarray(np.full((2, 2, 3), (0, 51, 102), np.uint8)).save(tmp_path / "deep.png")
    np.testing.assert_allclose(ImageDataset(path=str(tmp_path), size=2, channels=1).image(0), 0.2, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_the_step_resumed_at(mixed, workers):
    dataset = ImageDataset(path=mixed, size=16)
    loader = image_loader(dataset, seed=3, batch_size=4, steps=(2, 4), workers=workers)
    for step, batch in zip((2, 3), loader, strict=True):
        indices = batch_indices(len(dataset), seed=3, step=step, batch_size=4)
        np.testing.assert_array_equal(batch.numpy(), [ImageDataset(path=mixed, size=16).image(i) for i in indices])


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(mixed, tmp_path):
    options = ["--config", "tiny8-64", "--encoder", "dinov2-vit-nano8", "--dataset", "images", "--size", "32"]
    options += ["--set", f"dataset.path={mixed}", "--batch-size", "2", "--checkpoint-steps", "1", "--quiet"]
    options += ["--set", "method.prototypes=64", "--set", "method.hidden=32", "--set", "method.bottleneck=16"]
    for name, more in (("whole", []), ("parts", ["--max-hours", "1e-9"]), ("parts", ["--resume"])):
        arguments = [*options, "--steps", "2", "--workers", "0", *more, "--output", str(tmp_path / name)]
        assert main(["pretrain", *arguments]) == 0
    whole, parts = (load_file(tmp_path / name / "encoder.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 0}, "size is 0"), ({"channels": 0}, "channels is 0"), ({"stretch": "sqrt"}, "stretch is 'sqrt'")],
)
def test_options_out_of_range(mixed, options, message):
    with pytest.raises(MapError, match=message):
        ImageDataset(path=mixed, **options)


def test_unusable_files(tmp_path):
    with pytest.raises(InputNotFoundError, match="no such file or folder"):
        ImageDataset(path=str(tmp_path / "none"))
    with pytest.raises(MapError, match=r"no images found; expected files ending in .png"):
        ImageDataset(path=str(tmp_path))
    for name in ("bad.png", "bad.fits"):
        (tmp_path / name).write_bytes(b"text")
        with pytest.raises(MapError, match=rf"{name}: cannot be read as"):
            ImageDataset(path=str(tmp_path / name)).image(0)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(MapError, match=r"other.h5: schema is None"):
        ImageDataset(path=str(tmp_path / "other.h5"))


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_out_of_range(mixed, index):
    with pytest.raises(IndexError, match="expected 0 to 9"):
        ImageDataset(path=mixed).image(index)
