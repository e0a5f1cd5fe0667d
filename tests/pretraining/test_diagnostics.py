"""Monitors on features, gradients and images whose numbers are known."""

import math

import pytest
import torch

from stellarfm.pretraining.diagnostics import (
    effective_rank,
    entropy,
    feature_spread,
    gradient_norm,
    images_differ,
    is_finite,
)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_isotropic_features():
    features = randn(5000, 8)
    assert float(feature_spread(features)) == pytest.approx(1.0, abs=0.02)
    assert float(effective_rank(features)) == pytest.approx(8.0, abs=0.1)


def test_collapsed_features():
    features = torch.ones(50, 8) + 1e-6 * randn(50, 8)
    assert float(feature_spread(features)) < 1e-3
    line = randn(50, 1) * torch.ones(1, 8)
    assert float(effective_rank(line)) == pytest.approx(1.0, abs=1e-4)


def test_rank_agrees_with_eigenvalues():
    features = randn(40, 6) * torch.tensor([5.0, 3.0, 1.0, 1.0, 0.1, 0.0])
    values = torch.linalg.eigvalsh(torch.cov(features.T))
    assert float(effective_rank(features)) == pytest.approx(float(values.sum() ** 2 / values.square().sum()), rel=1e-4)


def test_rank_does_not_round_under_autocast():
    features = randn(40, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(effective_rank(features)) == float(effective_rank(features.clone()))


def test_entropy():
    assert float(entropy(torch.full((3, 10), 0.1))) == pytest.approx(math.log(10), abs=1e-6)
    assert float(entropy(torch.eye(4))) == 0.0


def test_gradient_norm():
    first, second, without = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    first.grad, second.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert float(gradient_norm([first, second, without])) == pytest.approx(5.0)
    assert float(gradient_norm([without])) == 0.0


def test_images_that_differ():
    images = randn(4, 3, 8, 8).sigmoid()
    assert images_differ(images)
    assert images_differ(images[:1])
    assert not images_differ(images[:1].expand(4, -1, -1, -1) + 1e-6 * images)


def test_finite_weights():
    module = torch.nn.BatchNorm1d(2)
    assert is_finite(module)
    module.running_mean[1] = math.inf
    assert not is_finite(module)
