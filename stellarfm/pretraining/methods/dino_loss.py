"""The DINO loss: class tokens of different views of one image agree on their prototypes."""

from __future__ import annotations

import torch

__all__ = ["dino_loss"]


def dino_loss(student: torch.Tensor, teacher: torch.Tensor, *, temperature: float = 0.1) -> torch.Tensor:
    """Cross-entropy between teacher and student over all pairs of different views.

    ``- 1 / (P B) sum_b sum_t sum_{s != t} sum_k p_tbk log softmax(z_sb / temperature)_k`` with P the number of pairs
    (t, s) of different views (Caron et al. 2021, arXiv:2104.14294, equation 3). Always in float32.

    Parameters
    ----------
    student : torch.Tensor
        Logits z, shape (S, B, K): S views of B images. The first T are those the teacher saw.
    teacher : torch.Tensor
        Assignments p, shape (T, B, K), rows summing to one; T <= S.
    temperature : float
        Of the student.

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    with torch.autocast(student.device.type, enabled=False):  # it would round the sums over K to bfloat16
        log_probabilities = torch.log_softmax(student.float() / temperature, dim=-1)
        pairs = -torch.einsum("tbk,sbk->ts", teacher.float(), log_probabilities)
    different = [t * len(student) + s for t in range(len(teacher)) for s in range(len(student)) if s != t]
    return pairs.flatten()[different].mean() / student.shape[1]
