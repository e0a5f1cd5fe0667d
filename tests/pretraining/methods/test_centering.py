"""Centring against independent references."""

import numpy as np
import pytest
import torch
from lightly.models.modules.center import Center
from scipy.special import logsumexp

from stellarfm.pretraining.methods.centering import MovingMeanCentering, SinkhornCentering, sinkhorn_knopp


def log_reference(logits: np.ndarray, temperature: float, iterations: int) -> np.ndarray:
    """Sinkhorn-Knopp in float64 by its definition: prototypes hold 1/K each, then samples 1/N each."""
    samples, prototypes = logits.shape
    log_q = logits.astype(np.float64) / temperature
    log_q -= logsumexp(log_q)
    for _ in range(iterations):
        log_q -= logsumexp(log_q, axis=0, keepdims=True) + np.log(prototypes)
        log_q -= logsumexp(log_q, axis=1, keepdims=True) + np.log(samples)
    return np.exp(log_q + np.log(samples))


def exponential_reference(logits: torch.Tensor, temperature: float, iterations: int) -> torch.Tensor:
    """The form of DINOv2's published code, in float64."""
    q = torch.exp(logits.double() / temperature).T
    prototypes, samples = q.shape
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(dim=1, keepdim=True)
        q /= prototypes
        q /= q.sum(dim=0, keepdim=True)
        q /= samples
    return (q * samples).T


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("temperature", [0.04, 0.07])
@pytest.mark.parametrize("shape", [(64, 256), (128, 40)])
def test_sinkhorn_agrees_with_a_float64_reference(scale, temperature, shape):
    logits = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours = sinkhorn_knopp(logits, temperature=temperature)
    np.testing.assert_allclose(ours.numpy(), log_reference(logits.numpy(), temperature, 3), rtol=0, atol=1e-5)


def test_sinkhorn_agrees_with_the_exponential_form():
    logits = torch.randn(32, 50, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(
        sinkhorn_knopp(logits, temperature=0.1), exponential_reference(logits, 0.1, 3), rtol=1e-9, atol=1e-12
    )


def test_sinkhorn_does_not_overflow_where_exponentials_do():
    logits = 100.0 * torch.randn(16, 32, generator=torch.Generator().manual_seed(2))
    assert not torch.isfinite(exponential_reference(logits, 0.04, 3)).all()
    ours = sinkhorn_knopp(logits, temperature=0.04)
    assert torch.isfinite(ours).all()
    torch.testing.assert_close(ours.sum(dim=1), torch.ones(16))


def test_many_iterations_share_the_prototypes_evenly():
    logits = torch.randn(60, 20, generator=torch.Generator().manual_seed(3))
    assigned = sinkhorn_knopp(logits, temperature=0.3, iterations=200)
    torch.testing.assert_close(assigned.sum(dim=0), torch.full((20,), 3.0), rtol=1e-3, atol=1e-3)


def test_sinkhorn_of_half_precision_is_computed_in_float32():
    logits = torch.randn(8, 16).bfloat16()
    assert SinkhornCentering()(logits, temperature=0.05).dtype == torch.float32


def test_sinkhorn_of_nothing_is_nothing():
    assert sinkhorn_knopp(torch.empty(0, 4), temperature=0.1).shape == (0, 4)


def test_moving_mean_agrees_with_lightly():
    ours, theirs = MovingMeanCentering(6, momentum=0.8), Center((1, 6), momentum=0.8)
    for seed in range(4):
        logits = torch.randn(10, 6, generator=torch.Generator().manual_seed(seed)) + 2.0
        expected = torch.softmax((logits - theirs.value) / 0.05, dim=1)
        theirs.update(logits)
        torch.testing.assert_close(ours(logits, temperature=0.05), expected)
        torch.testing.assert_close(ours.centre, theirs.value)


def test_the_centre_is_part_of_the_state():
    assert list(MovingMeanCentering(3).state_dict()) == ["centre"]
