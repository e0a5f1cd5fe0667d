"""Calibration of predicted concentrations on votes that were not used for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_terms, sum_by_question
from stellarfm_galaxyzoo.schema import Schema

__all__ = ["Calibration"]

#: Standard deviation of the normal prior on the three logarithms, so that few votes change little.
PRIOR = 1.0
#: Sum of concentrations that `spread` leaves unchanged.
PIVOT = 20.0


@dataclass(frozen=True)
class Calibration:
    """Three factors per question that adjust expected fractions and total concentration.

    Fractions f become ``f^sharpness`` (normalised), and the sum A of concentrations ``certainty 20 (A / 20)^spread``.
    Factors of one change nothing. They extend the range of a head, whose concentrations lie between 1 and 101, and
    correct overconfidence on questions with few votes.

    Attributes
    ----------
    sharpness : numpy.ndarray
        Exponent of the fractions, positive, shape (questions,).
    certainty : numpy.ndarray
        Factor of the total concentration, positive, shape (questions,).
    spread : numpy.ndarray
        Exponent of the total concentration, positive, shape (questions,).
    """

    sharpness: np.ndarray
    certainty: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, concentrations: np.ndarray, votes: np.ndarray, schema: Schema) -> Calibration:
        """Return the most probable calibration, given votes on galaxies that were not used for training.

        The likelihood is Dirichlet-multinomial. In the prior the logarithms are normal around 0 with a standard
        deviation of 1, so that a question without votes remains unchanged.

        Parameters
        ----------
        concentrations : array
            Predicted concentrations, shape (N, answers).
        votes : array
            Numbers of votes, shape (N, answers).
        schema : Schema
            Questions of the answers.
        """
        index = torch.as_tensor(schema.question_of)
        a, k = (torch.as_tensor(values, dtype=torch.float64) for values in (concentrations, votes))
        logs = torch.zeros(3, len(schema.questions), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([logs], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-10)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            calibrated = _apply(a, logs.exp(), index)
            loss = dirichlet_multinomial_terms(calibrated, k, index).sum() + 0.5 * (logs / PRIOR).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return cls(*logs.detach().exp().numpy())

    def apply(self, concentrations: np.ndarray, schema: Schema) -> np.ndarray:
        """Return calibrated concentrations, shape (..., answers)."""
        a = torch.as_tensor(np.asarray(concentrations, dtype=float))
        factors = torch.as_tensor(np.stack([self.sharpness, self.certainty, self.spread]))
        return _apply(a, factors, torch.as_tensor(schema.question_of)).numpy()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: values.tolist() for name, values in vars(self).items()}


def _apply(a: torch.Tensor, factors: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return calibrated concentrations, given the three factors (3, questions); see `Calibration`."""
    sharpness, certainty, spread = factors
    total = sum_by_question(a, index)
    weights = (sharpness[index] * (a.log() - total[..., index].log())).exp()
    fractions = weights / sum_by_question(weights, index)[..., index]
    return fractions * (certainty * PIVOT * (spread * (total / PIVOT).log()).exp())[..., index]
