"""Block masks: how many, how large, how random."""

import pytest
import torch

from stellarfm.pretraining.methods.masks import block_masks


def masks(seed: int = 0, images: int = 64, grid: int = 6, **options) -> torch.Tensor:
    return block_masks(images, grid, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("grid", [4, 5, 6, 14])
def test_half_of_the_images_with_ratios_between_the_limits(grid):
    share = masks(images=200, grid=grid).float().mean(dim=(1, 2))
    masked = share[share > 0]
    assert len(masked) == 100
    assert masked.min() >= 0.1 - 1 / grid**2
    assert masked.max() <= 0.5
    assert float(masked.mean()) == pytest.approx(0.3, abs=0.5 / grid**2 + 0.01)


@pytest.mark.parametrize(("images", "masked_images"), [(64, 0.5), (6, 0.3)])
def test_numbers_are_stratified_as_in_the_official_code(images, masked_images):
    """``data/collate.py``: one ratio in each of ``int(B p)`` equal intervals, times the number of patches."""
    counts = masks(images=images, grid=14, masked_images=masked_images).sum(dim=(1, 2)).sort().values
    masked = int(images * masked_images)
    edges = torch.linspace(0.1, 0.5, masked + 1) * 14**2
    assert not counts[: images - masked].any()
    counts = counts[images - masked :]
    assert (counts >= edges[:-1].floor()).all()
    assert (counts <= edges[1:]).all()


def test_the_total_hardly_changes_from_batch_to_batch():
    totals = torch.tensor([int(masks(seed).sum()) for seed in range(20)])
    assert totals.float().std() < 0.02 * totals.float().mean()


def test_blocks_hang_together():
    mask = masks(images=300, grid=14, masked_images=1.0, ratio=(0.3, 0.3))
    right = (mask[:, :, 1:] & mask[:, :, :-1]).sum() / mask[:, :, :-1].sum()
    assert right > 0.6  # single patches at random would give 0.3


def test_every_place_is_hidden_alike():
    often = torch.stack([masks(seed, images=100).float().mean(dim=0) for seed in range(20)]).mean(dim=0)
    assert often.min() > 0.05
    assert often.max() < 0.3


def test_only_the_generator_decides():
    torch.manual_seed(1)
    first = masks(3)
    torch.manual_seed(2)
    assert torch.equal(first, masks(3))
    assert not torch.equal(first, masks(4))


def test_no_masked_images():
    assert not masks(masked_images=0.0).any()


def test_everything_hidden():
    assert masks(masked_images=1.0, ratio=(1.0, 1.0)).all()
