"""Views: geometry on images whose answer is known, ranges, and where randomness comes from."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import ks_2samp, kstest
from torchvision.transforms import RandomResizedCrop

from stellarfm.pretraining.methods import augmentations as views
from stellarfm.pretraining.methods.augmentations import Crop, Stretch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 4, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=generator(9))


WHOLE = Crop(32, (1.0, 1.0), (1.0, 1.0))


def test_the_whole_image_is_the_image():
    crop = views.crop(images(), WHOLE, generator=generator(), rotation="none", flips=False)
    torch.testing.assert_close(crop, images(), rtol=0, atol=1e-5)


def test_quarter_turns_and_flips_are_the_eight_symmetries():
    batch = images(64)
    crops = views.crop(batch, WHOLE, generator=generator(), rotation="quarter")
    seen = set()
    for image, crop in zip(batch, crops, strict=True):
        symmetries = [torch.rot90(i, k, (1, 2)) for i in (image, image.flip(2)) for k in range(4)]
        errors = [float((s - crop).abs().max()) for s in symmetries]
        assert min(errors) < 1e-4
        seen.add(errors.index(min(errors)))
    assert len(seen) == 8


def ramps(count: int, side: int = 64) -> torch.Tensor:
    """Coordinates in pixels from the center, as images of two channels (x, y)."""
    line = torch.arange(side) - (side - 1) / 2
    return torch.stack(torch.meshgrid(line, line, indexing="xy")).expand(count, -1, -1, -1).contiguous()


def geometry(how: Crop, rotation: str, count: int = 4000) -> dict[str, np.ndarray]:
    """Geometry of random crops of an image of unit side, measured at the center of each crop."""
    side, middle = 64, how.size // 2
    crops = views.crop(ramps(count, side), how, generator=generator(), rotation=rotation, flips=False) / side
    along = (crops[:, :, middle, middle] - crops[:, :, middle, middle - 1]) * how.size
    down = (crops[:, :, middle, middle] - crops[:, :, middle - 1, middle]) * how.size
    width, height = along.norm(dim=1), down.norm(dim=1)
    center = crops[:, :, middle - 1 : middle + 1, middle - 1 : middle + 1].mean(dim=(2, 3))
    x = (center * along).sum(dim=1) / width
    values = {"area": width * height, "aspect": width / height, "width": width, "x": x}
    values |= {"angle": torch.atan2(along[:, 1], along[:, 0])}
    return {name: value.numpy() for name, value in values.items()}


def official(area: tuple[float, float], count: int = 4000, side: int = 1000) -> dict[str, np.ndarray]:
    """The same for the crops of torchvision."""
    torch.manual_seed(1)
    image = torch.empty(1, side, side)
    boxes = [RandomResizedCrop.get_params(image, list(area), [3 / 4, 4 / 3]) for _ in range(count)]
    _, left, height, width = np.array(boxes, float).T / side
    return {"area": width * height, "aspect": width / height, "width": width, "x": left + width / 2 - 0.5}


@pytest.mark.parametrize("rotation", ["none", "any"])
@pytest.mark.parametrize("area", [(0.32, 1.0), (0.05, 0.32)])
def test_crops_are_distributed_as_those_of_torchvision(area, rotation):
    ours, theirs = geometry(Crop(16, area), rotation), official(area)
    for name, values in theirs.items():
        assert ks_2samp(ours[name], values).pvalue > 0.01, name
    assert ours["area"].mean() == pytest.approx(theirs["area"].mean(), abs=0.01)


def test_angles_are_uniform():
    angles = geometry(Crop(16, (0.32, 1.0)), "any")["angle"]
    assert kstest(angles / (2 * math.pi) + 0.5, "uniform").pvalue > 0.01


def test_what_lies_inside_the_image_is_a_rotated_rectangle():
    crops = views.crop(ramps(500), Crop(16, (0.05, 0.3)), generator=generator())
    inside = crops.abs().amax(dim=(1, 2, 3)) < 31.0
    slope = crops[:, :, :, 1:] - crops[:, :, :, :-1]
    bend = (slope - slope.mean(dim=(2, 3), keepdim=True)).abs().amax(dim=(1, 2, 3))
    assert inside.float().mean() > 0.2
    assert bend[inside].max() < 1e-4


def test_borders_are_reflected():
    batch = images(200)
    crops = views.crop(batch, Crop(32, (0.9, 1.0)), generator=generator(), rotation="any")
    assert torch.isfinite(crops).all()
    for crop, image in zip(crops, batch, strict=True):
        assert crop.min() >= image.min() - 1e-5
        assert crop.max() <= image.max() + 1e-5


def test_unknown_rotation():
    with pytest.raises(ValueError, match="expected one of any, quarter, none"):
        views.crop(images(), WHOLE, generator=generator(), rotation="half")


def test_stretch_without_limits_standardises():
    stretched = views.stretch(images(), Stretch(0.0, 0.0, 0.0), generator=generator())
    torch.testing.assert_close(stretched, views.standardize(images()))
    assert stretched.abs().max() <= 2.5


def test_stretch_is_monotonic_and_bounded():
    ramp = torch.linspace(0, 1, 64).expand(100, 3, 1, 64)
    stretched = views.stretch(ramp, Stretch(0.5, 3.0, 0.5), generator=generator())
    assert (stretched.diff(dim=-1) >= 0).all()
    assert stretched.abs().max() <= 5.0


def test_channels_are_stretched_on_their_own_and_never_mixed():
    batch = torch.zeros(20, 3, 8, 8)
    batch[:, 1] = torch.rand(20, 8, 8, generator=generator(1))
    stretched = views.stretch(batch, Stretch(), generator=generator())
    assert stretched[:, [0, 2]].std(dim=(2, 3)).max() < 1e-6
    assert (stretched[:, 0, 0, 0] - stretched[:, 2, 0, 0]).abs().max() > 0.1


def test_blur_agrees_with_scipy():
    blurred = views.blur(images(1), probability=1.0, sigma=(1.0, 1.0), generator=generator())
    for ours, image in zip(blurred[0], images(1)[0], strict=True):
        expected = gaussian_filter(image.double().numpy(), 1.0, mode="mirror", radius=3)
        torch.testing.assert_close(ours, torch.from_numpy(expected).float(), rtol=0, atol=1e-5)


def test_only_a_share_is_blurred():
    batch = images(400, 16)
    blurred = views.blur(batch, probability=0.3, sigma=(0.5, 1.0), generator=generator())
    same = (blurred - batch).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert float(same.float().mean()) == pytest.approx(0.7, abs=0.07)


def test_noise_has_the_level_it_was_given():
    noise = views.noise(torch.zeros(2000, 1, 16, 16), level=0.4, generator=generator())
    levels = noise.std(dim=(1, 2, 3))
    assert levels.max() < 0.5
    assert float(levels.mean()) == pytest.approx(0.2, abs=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    "view",
    [
        lambda g: views.crop(images(), Crop(16, (0.2, 1.0)), generator=g),
        lambda g: views.stretch(images(), Stretch(), generator=g),
        lambda g: views.blur(images(), probability=0.5, sigma=(0.3, 1.2), generator=g),
        lambda g: views.noise(images(), level=0.1, generator=g),
    ],
)
def test_only_the_generator_decides(view):
    torch.manual_seed(1)
    first = view(generator(5))
    torch.manual_seed(2)
    assert torch.equal(first, view(generator(5)))
    assert not torch.equal(first, view(generator(6)))
    assert math.isfinite(float(first.sum()))
