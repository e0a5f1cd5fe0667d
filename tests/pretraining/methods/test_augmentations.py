"""Views: geometry on images whose answer is known, ranges, and where randomness comes from."""

import math

import pytest
import torch
from scipy.ndimage import gaussian_filter

from stellarfm.pretraining.methods import augmentations as views
from stellarfm.pretraining.methods.augmentations import Crop, Stretch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 4, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=generator(9))


WHOLE = Crop(32, (1.0, 1.0))


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


def test_a_crop_of_any_angle_invents_no_border():
    side = 64
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    batch = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(500, -1, -1, -1).contiguous()
    crops = views.crop(batch, Crop(16, (0.2, 1.0)), generator=generator())
    slope = crops[:, :, :, 1:] - crops[:, :, :, :-1]
    # A linear ramp stays a linear ramp under rotation and scaling; reflections at a border would bend it.
    assert (slope - slope.mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-4


def test_areas_lie_in_their_range():
    side = 64
    line = (torch.arange(side) + 0.5) / side
    batch = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(500, -1, -1, -1).contiguous()
    crops = views.crop(batch, Crop(16, (0.1, 0.4)), generator=generator())
    step = crops[:, :, 0, 1] - crops[:, :, 0, 0]
    areas = (step.square().sum(dim=1).sqrt() * 16).square()
    assert areas.min() > 0.099
    assert areas.max() < 0.401
    assert areas.std() > 0.05


def test_unknown_rotation():
    with pytest.raises(ValueError, match="expected one of any, quarter, none"):
        views.crop(images(), WHOLE, generator=generator(), rotation="half")


def test_stretch_without_limits_standardises():
    stretched = views.stretch(images(), Stretch(0.0, 0.0, 0.0), generator=generator())
    torch.testing.assert_close(stretched, views.standardise(images()))
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
