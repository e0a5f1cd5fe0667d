"""Monitors on features whose spread and rank are known, and the guard."""

import math

import pytest
import torch

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.monitors import check_health, effective_rank, entropy, feature_spread


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


def test_nan_is_reported_with_its_name():
    with pytest.raises(PretrainingError, match=r"step 5: ibot is not finite; .*learning_rate"):
        check_health({"dino": 1.0, "ibot": float("nan")}, step=5)


def test_collapse_is_reported():
    with pytest.raises(PretrainingError, match=r"step 9: collapse: .* rank 1.0"):
        check_health({"dino": math.log(512), "rank": 1.0}, step=9, prototypes=512)


@pytest.mark.parametrize("values", [{"dino": math.log(512), "rank": 3.0}, {"dino": 5.0, "rank": 1.0}, {"loss": 1.0}])
def test_a_healthy_run_goes_on(values):
    check_health(values, step=9, prototypes=512)
