import numpy as np
import pytest
import torch
from scipy.stats import dirichlet_multinomial
from stellarfm_galaxyzoo.dirichlet import credible_interval, dirichlet_multinomial_loss, dirichlet_multinomial_terms
from stellarfm_galaxyzoo.schema import CAMPAIGNS, Schema


def loss(a, k, dtype=torch.float32):
    a, k = (torch.tensor(values, dtype=dtype) for values in (a, k))
    return dirichlet_multinomial_loss(a, k, torch.zeros(len(a), dtype=torch.long)).item()


@pytest.mark.parametrize(
    ("a", "k", "expected"),
    [
        ((2.0, 3.0, 5.0), (1.0, 0.0, 4.0), 2.660260),
        ((1.0, 1.0), (7.0, 3.0), 2.397895),
        ((101.0, 1.0, 1.0), (40.0, 0.0, 0.0), 0.664494),
        ((10.0, 20.0), (12.0, 28.0), 2.448677),
    ],
)
def test_check_values(a, k, expected):
    assert loss(a, k) == pytest.approx(expected, abs=1e-5)


def test_agrees_with_scipy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, n = rng.uniform(1, 101, 4), int(rng.integers(1, 60))
        k = rng.multinomial(n, a / a.sum())
        expected = -dirichlet_multinomial(a, n).logpmf(k)
        assert loss(a.tolist(), k.tolist(), torch.float64) == pytest.approx(expected, rel=1e-9)


def test_is_a_distribution():
    total = sum(np.exp(-loss((1.5, 4.0), (float(k), 9.0 - k), torch.float64)) for k in range(10))
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1e3, 1e4])
def test_single_precision_holds_for_very_many_votes(n):
    a, k = (3.7, 88.1, 1.0), (0.3 * n, 0.6 * n, 0.1 * n)
    assert loss(a, k) == pytest.approx(loss(a, k, torch.float64), rel=1e-5)


def test_questions_without_votes_are_exactly_nothing():
    schema = Schema.load(*CAMPAIGNS)
    a = (1 + 100 * torch.rand(3, schema.n_answers, generator=torch.Generator().manual_seed(0))).requires_grad_()
    votes = torch.zeros(3, schema.n_answers)
    votes[0, schema.slice_of(0)] = torch.tensor([4.0, 5.0, 0.0])
    terms = dirichlet_multinomial_terms(a, votes, schema.question_of)
    assert terms.shape == (3, 65)
    assert terms[0, 0] > 0
    assert not terms[0, 1:].any()
    assert not terms[1:].any()
    terms.sum().backward()
    assert a.grad[0, :3].all()
    assert not a.grad[0, 3:].any()
    assert not a.grad[1:].any()


def test_gradient_is_right():
    index = torch.tensor([0, 0, 1, 1, 1])
    a = torch.tensor([[2.0, 3.0, 1.1, 50.0, 7.0]], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([[1.0, 4.0, 0.0, 10.0, 2.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: dirichlet_multinomial_loss(x, k, index), a)


def test_credible_interval_holds_its_probability():
    schema = Schema.load("dr5")
    a = np.random.default_rng(0).uniform(1, 30, schema.n_answers)
    low, high = credible_interval(a, schema, level=0.8)
    draws = schema.fractions(np.random.default_rng(1).gamma(a, size=(4000, len(a))))
    inside = ((draws > low) & (draws < high)).mean(axis=0)
    assert inside == pytest.approx(np.full(len(a), 0.8), abs=0.03)  # five standard errors
