"""Losses of DINOv2: DINO (class tokens), iBOT (hidden patches) and KoLeo (spread of the features)."""

from __future__ import annotations

import torch
from torch.nn import functional

from stellarfm.pretraining.distributed.collectives import all_gather, rank_and_world_size

__all__ = ["dino_loss", "ibot_loss", "koleo_loss"]


def dino_loss(student: torch.Tensor, teacher: torch.Tensor, *, temperature: float = 0.1) -> torch.Tensor:
    """Return the cross-entropy between teacher and student over all pairs of different views.

    ``- 1 / (P B) sum_b sum_t sum_{s != t} sum_k p_tbk log softmax(z_sb / temperature)_k`` with P the number of pairs
    (t, s) of different views (Caron et al. 2021, arXiv:2104.14294, equation 3). Always in float32.

    Parameters
    ----------
    student : torch.Tensor
        Logits z, shape (S, B, K), of S views of B images. The first T views are those of the teacher.
    teacher : torch.Tensor
        Assignments p, shape (T, B, K), rows summing to one; T <= S.
    temperature : float
        Temperature of the student.

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    with torch.autocast(student.device.type, enabled=False):  # autocast would round the sums over K to bfloat16
        log_probabilities = torch.log_softmax(student.float() / temperature, dim=-1)
        pairs = -torch.einsum("tbk,sbk->ts", teacher.float(), log_probabilities)
    different = [t * len(student) + s for t in range(len(teacher)) for s in range(len(student)) if s != t]
    return pairs.flatten()[different].mean() / student.shape[1]


def ibot_loss(
    student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, *, temperature: float = 0.1
) -> torch.Tensor:
    """Return the cross-entropy on the hidden patches, averaged within each image and then over images.

    ``- 1 / B sum_b 1 / M_b sum_{i masked} sum_k p_bik log softmax(z_bi / temperature)_k`` with M_b the number of hidden
    patches of image b; images without a mask add zero (Zhou et al. 2021, arXiv:2111.07832, equation 2, with the weights
    of DINOv2's code). Always in float32.

    Parameters
    ----------
    student : torch.Tensor
        Logits z of the hidden patches of all images, shape (M, K), in the order of ``tokens[mask]``.
    teacher : torch.Tensor
        Assignments p of the same patches, shape (M, K), rows summing to one.
    mask : torch.Tensor
        Boolean, shape (B, rows, columns), with M patches True.
    temperature : float
        Temperature of the student.

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    log_probabilities = torch.log_softmax(student.float() / temperature, dim=-1)
    entropies = -(teacher.float() * log_probabilities).sum(dim=-1)
    hidden = mask.sum(dim=(1, 2))
    weights = torch.repeat_interleave(1.0 / hidden.clamp(min=1), hidden, output_size=len(student))
    return (entropies * weights).sum() / len(mask)


def koleo_loss(features: torch.Tensor, *, epsilon: float = 1e-8) -> torch.Tensor:
    """Return minus the mean log distance of features to their nearest neighbor.

    ``- 1 / N sum_i log min_{j != i} |x_i - x_j|`` of the normalized features (Sablayrolles et al. 2019,
    arXiv:1806.03198, equation 3): the Kozachenko-Leonenko estimate of the differential entropy, with its sign
    reversed. Always in float32, because half precision cannot resolve the distances of near neighbors. With several
    processes, neighbors are searched among the features of all, and the loss is the mean over those of this process.

    Parameters
    ----------
    features : torch.Tensor
        Shape (N, D), N > 1, of different images.
    epsilon : float
        Offset that keeps the logarithm and its gradient finite where two features coincide.

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = functional.normalize(features.float(), dim=1, eps=epsilon)
        gathered = all_gather(unit)
        with torch.no_grad():
            own = torch.arange(len(unit), device=unit.device) + rank_and_world_size()[0] * len(unit)
            similarity = (unit @ gathered.T).scatter_(1, own[:, None], -2.0)
            nearest = similarity.argmax(dim=1)
        distance = functional.pairwise_distance(unit, gathered[nearest], eps=epsilon)
        return -torch.log(distance + epsilon).mean()
