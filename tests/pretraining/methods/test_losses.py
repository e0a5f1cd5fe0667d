"""The three losses against their formulas and against lightly."""

import numpy as np
import pytest
import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss

from stellarfm.pretraining.methods.losses import dino_loss, ibot_loss, koleo_loss


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(("teachers", "students"), [(2, 2), (2, 6), (1, 3)])
def test_dino_agrees_with_its_formula(teachers, students):
    student, teacher = randn(students, 5, 7), torch.softmax(randn(teachers, 5, 7, seed=1) / 0.04, dim=-1)
    terms = [
        -(teacher[t, b].double().numpy() * log_softmax(student[s, b].double().numpy() / 0.1)).sum()
        for t in range(teachers)
        for s in range(students)
        for b in range(5)
        if s != t
    ]
    assert float(dino_loss(student, teacher)) == pytest.approx(np.mean(terms), abs=1e-5)


def test_dino_agrees_with_lightly():
    student, logits = randn(6, 16, 64), randn(2, 16, 64, seed=1)
    theirs = DINOLoss(64, teacher_temp=0.05, warmup_teacher_temp=0.05, student_temp=0.1)
    expected = theirs(list(logits), list(student), teacher_temp=0.05)
    ours = dino_loss(student, torch.softmax(logits / 0.05, dim=-1), temperature=0.1)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_dino_is_the_entropy_where_student_and_teacher_agree():
    logits = randn(1, 4, 9).repeat(2, 1, 1)
    p = torch.softmax(logits / 0.1, dim=-1)
    expected = torch.special.entr(p[0]).sum(dim=-1).mean()
    torch.testing.assert_close(dino_loss(logits, p, temperature=0.1), expected)


def test_dino_stays_in_float32_under_autocast():
    student, teacher = randn(6, 32, 512), torch.softmax(randn(2, 32, 512, seed=1) / 0.05, dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        half = dino_loss(student, teacher)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, dino_loss(student, teacher), rtol=0, atol=0)


@pytest.fixture
def mask():
    mask = torch.zeros(4, 3, 3, dtype=torch.bool)
    mask[0, 0, :2] = mask[1, 2, 2] = mask[3] = True
    return mask


def test_ibot_agrees_with_its_formula(mask):
    student, teacher = randn(4, 3, 3, 5), torch.softmax(randn(4, 3, 3, 5, seed=1) / 0.04, dim=-1)
    total = 0.0
    for b in range(4):
        hidden = [(i, j) for i in range(3) for j in range(3) if mask[b, i, j]]
        for i, j in hidden:
            p, z = teacher[b, i, j].double().numpy(), student[b, i, j].double().numpy()
            total -= (p * log_softmax(z / 0.1)).sum() / len(hidden) / 4
    assert float(ibot_loss(student[mask], teacher[mask], mask)) == pytest.approx(total, abs=1e-5)


def test_ibot_agrees_with_lightly(mask):
    hidden = int(mask.sum())
    student, logits = randn(hidden, 32), randn(hidden, 32, seed=1)
    expected = IBOTPatchLoss(32, teacher_temp=0.05)(logits, student, mask)
    ours = ibot_loss(student, torch.softmax(logits / 0.05, dim=-1), mask)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_ibot_without_any_mask_is_zero():
    assert float(ibot_loss(torch.empty(0, 5), torch.empty(0, 5), torch.zeros(2, 3, 3, dtype=torch.bool))) == 0.0


def test_koleo_agrees_with_its_formula():
    x = torch.nn.functional.normalize(randn(9, 4).double(), dim=1).numpy()
    distances = np.linalg.norm(x[:, None] - x[None], axis=-1) + 10.0 * np.eye(9)
    assert float(koleo_loss(randn(9, 4))) == pytest.approx(-np.log(distances.min(axis=1)).mean(), abs=1e-5)


@pytest.mark.parametrize(("samples", "features"), [(8, 3), (64, 192)])
def test_koleo_agrees_with_lightly(samples, features):
    x = randn(samples, features)
    torch.testing.assert_close(koleo_loss(x), KoLeoLoss()(x), rtol=0, atol=1e-5)


def test_koleo_stays_in_float32_under_autocast():
    x = randn(32, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = koleo_loss(x)
    torch.testing.assert_close(half, koleo_loss(x), rtol=0, atol=0)


def test_koleo_of_coinciding_features_is_finite():
    x = torch.ones(4, 8, requires_grad=True)
    loss = koleo_loss(x)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()


def test_koleo_pushes_neighbours_apart():
    x = randn(16, 2).requires_grad_()
    before = koleo_loss(x)
    before.backward()
    with torch.no_grad():
        assert koleo_loss(x - 0.01 * x.grad) < before
