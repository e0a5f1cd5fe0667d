"""Calibration of predicted concentrations on votes that were not learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_terms
from stellarfm_galaxyzoo.schema import Schema

__all__ = ["Calibration"]

#: Standard deviation of the normal prior on the three logarithms: few votes change little.
PRIOR = 1.0
#: Sum of concentrations that `spread` leaves alone.
PIVOT = 20.0


@dataclass(frozen=True)
class Calibration:
    """Three numbers a question: how sharp the expected fractions are, how sure, and how differently sure.

    Fractions f become ``f^sharpness`` (normalised), and the sum A of concentrations ``certainty 20 (A / 20)^spread``.
    Ones change nothing. They correct what a head cannot say by itself, whose concentrations lie between 1 and 101, or
    says too boldly: how sure it may be is hard to learn where a question was asked of few volunteers only.

    Attributes
    ----------
    sharpness, certainty, spread : numpy.ndarray
        Positive, shape (questions,).
    """

    sharpness: np.ndarray
    certainty: np.ndarray
    spread: np.ndarray

    @classmethod
    def none(cls, schema: Schema) -> Calibration:
        """The one that changes nothing."""
        return cls(*np.ones((3, len(schema.questions))))

    @classmethod
    def fit(cls, concentrations: np.ndarray, votes: np.ndarray, schema: Schema) -> Calibration:
        """The most probable calibration, given votes on galaxies that the concentrations were not learnt from.

        Likelihood: Dirichlet-multinomial. Prior: the logarithms are normal about 0 with a standard deviation of 1, so
        that a question without votes stays as it is.

        Parameters
        ----------
        concentrations, votes : array
            Shape (N, answers).
        schema : Schema
            Which answers belong together.
        """
        index = torch.as_tensor(schema.question_of)
        a, k = (torch.as_tensor(values, dtype=torch.float64) for values in (concentrations, votes))
        logs = torch.zeros(3, len(schema.questions), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([logs], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-10)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            found = _apply(a, logs.exp(), index)
            loss = dirichlet_multinomial_terms(found, k, index).sum() + 0.5 * (logs / PRIOR).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return cls(*logs.detach().exp().numpy())

    def apply(self, concentrations: np.ndarray, schema: Schema) -> np.ndarray:
        """Calibrated concentrations, shape (..., answers)."""
        a = torch.as_tensor(np.asarray(concentrations, dtype=float))
        factors = torch.as_tensor(np.stack([self.sharpness, self.certainty, self.spread]))
        return _apply(a, factors, torch.as_tensor(schema.question_of)).numpy()

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {name: values.tolist() for name, values in vars(self).items()}


def _apply(a: torch.Tensor, factors: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Calibrated concentrations, given the three factors (3, questions); see `Calibration`."""
    sharpness, certainty, spread = factors
    total = _sums(a, index)
    weights = (sharpness[index] * (a.log() - total[..., index].log())).exp()
    fractions = weights / _sums(weights, index)[..., index]
    return fractions * (certainty * PIVOT * (spread * (total / PIVOT).log()).exp())[..., index]


def _sums(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Sums over the answers of each question."""
    return values.new_zeros(*values.shape[:-1], int(index[-1]) + 1).index_add(-1, index, values)
