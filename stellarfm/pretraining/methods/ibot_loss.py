"""The iBOT loss: the student guesses the prototypes of patches that it cannot see."""

from __future__ import annotations

import torch

__all__ = ["ibot_loss"]


def ibot_loss(
    student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, *, temperature: float = 0.1
) -> torch.Tensor:
    """Cross-entropy on the hidden patches, averaged within each image and then over images.

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
        Of the student.

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
