"""What several devices draw together is what one would have drawn."""

import pytest
import torch

from stellarfm.encoders.vit import DinoV2Tiny8
from stellarfm.pretraining.distributed.random import ShardedGenerator, normal, own_share, uniform
from stellarfm.pretraining.methods.dinov2 import DinoV2


def generators(devices):
    for device in range(devices):
        generator = ShardedGenerator()
        generator.manual_seed(7)
        generator.share = (device, devices)
        yield generator


@pytest.mark.parametrize("devices", [2, 3])
@pytest.mark.parametrize(
    ("draw", "axis"),
    [
        (lambda g, n: uniform((n, 4), -1.0, 2.0, generator=g), 0),
        (lambda g, n: uniform((2, n), 0.0, 1.0, generator=g, axis=1), 1),
        (lambda g, n: normal((n, 3, 2), generator=g), 0),
    ],
)
def test_devices_draw_what_one_would(devices, draw, axis):
    parts = [draw(generator, 2) for generator in generators(devices)]
    assert torch.equal(torch.cat(parts, dim=axis), draw(torch.Generator().manual_seed(7), 2 * devices))


def test_one_device_owns_all():
    values = torch.arange(6)
    assert own_share(values, generator=torch.Generator()) is values


def test_views_and_masks_do_not_depend_on_the_number_of_devices():
    method = DinoV2(global_size=16, local_size=8, local_crops=3, prototypes=8, hidden=8, bottleneck=8)
    method.build(DinoV2Tiny8(), image_size=32, total_steps=2)
    images = torch.rand(6, 3, 32, 32)
    whole = method.views(images, generator=torch.Generator().manual_seed(7))
    parts = [method.views(own_share(images, generator=g), generator=g) for g in generators(2)]
    for name, n_views in (("large", 2), ("small", 3), ("mask", 2)):
        joined = torch.cat([getattr(part, name).unflatten(0, (n_views, -1)) for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(joined, getattr(whole, name)), name
    assert whole.mask.any()
