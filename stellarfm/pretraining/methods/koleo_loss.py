"""The KoLeo regulariser: features of a batch spread over the sphere."""

from __future__ import annotations

import torch
from torch.nn import functional

from stellarfm.pretraining.distributed.collectives import gather, place

__all__ = ["koleo_loss"]


def koleo_loss(features: torch.Tensor, *, epsilon: float = 1e-8) -> torch.Tensor:
    """Minus the mean log distance to the nearest neighbour.

    ``- 1 / N sum_i log min_{j != i} |x_i - x_j|`` of the normalised features (Sablayrolles et al. 2019,
    arXiv:1806.03198, equation 3): the Kozachenko-Leonenko estimate of the differential entropy, with its sign
    reversed. Always in float32, whatever autocast says: half precision cannot tell near neighbours apart. With several
    processes, neighbours are sought among the features of all, and the loss is the mean over this process's.

    Parameters
    ----------
    features : torch.Tensor
        Shape (N, D), N > 1, of different images.
    epsilon : float
        Keeps the logarithm and its gradient finite where two features coincide.

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = functional.normalize(features.float(), dim=1, eps=epsilon)
        everyone = gather(unit)
        with torch.no_grad():
            itself = torch.arange(len(unit), device=unit.device) + place()[0] * len(unit)
            similarity = (unit @ everyone.T).scatter_(1, itself[:, None], -2.0)
            nearest = similarity.argmax(dim=1)
        distance = functional.pairwise_distance(unit, everyone[nearest], eps=epsilon)
        return -torch.log(distance + epsilon).mean()
