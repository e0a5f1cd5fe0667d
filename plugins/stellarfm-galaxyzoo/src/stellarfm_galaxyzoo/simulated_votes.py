"""Simulated votes of volunteers on galaxies of known shape: the ground truth of the synthetic survey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stellarfm_galaxyzoo.exceptions import SchemaError
from stellarfm_galaxyzoo.schema import Question, Schema
from stellarfm_galaxyzoo.simulated_galaxies import Galaxy

__all__ = ["concentrations", "draw_votes", "is_ring"]


@dataclass(frozen=True)
class AnswerScale:
    """Positions of the answers to a question on a scale, and the error with which volunteers read it.

    Attributes
    ----------
    places : dict
        Position on the scale of each answer.
    error : float
        Standard deviation of the reading of a volunteer.
    shares : dict
        Fixed fraction of the votes of each answer without a position.
    """

    places: dict[str, float]
    error: float
    shares: dict[str, float]

    def probabilities(self, value: float, answers: list[str]) -> np.ndarray:
        """Return the probability of each answer for a galaxy at `value` on the scale."""
        near = [
            -0.5 * ((value - self.places[name]) / self.error) ** 2 if name in self.places else -np.inf
            for name in answers
        ]
        weights = np.exp(np.array(near) - max(near))
        fixed = np.array([self.shares.get(name, 0.0) for name in answers])
        return fixed + (1.0 - fixed.sum()) * weights / weights.sum()


YES_NO = {"yes": 1.0, "no": 0.0}
SCALES = {
    "smooth-or-featured": AnswerScale({"smooth": 0.0, "featured-or-disk": 1.0}, 0.4, {"artifact": 0.03}),
    "how-rounded": AnswerScale(
        {"completely": 1.0, "round": 1.0, "in-between": 0.65, "cigar": 0.3, "cigar-shaped": 0.3}, 0.14, {}
    ),
    "disk-edge-on": AnswerScale(YES_NO, 0.4, {}),
    "edge-on-bulge": AnswerScale({"none": 0.05, "rounded": 0.45}, 0.15, {"boxy": 0.08}),
    "bulge-shape": AnswerScale({"no-bulge": 0.05, "round": 0.45}, 0.15, {"boxy": 0.08}),
    "has-spiral-arms": AnswerScale(YES_NO, 0.35, {}),
    "bar": AnswerScale({"strong": 1.0, "weak": 0.5, "no": 0.0, "yes": 1.0}, 0.3, {}),
    "bulge-size": AnswerScale(
        {
            "no": 0.0,
            "none": 0.0,
            "small": 0.2,
            "just-noticeable": 0.2,
            "moderate": 0.4,
            "obvious": 0.5,
            "large": 0.6,
            "dominant": 0.85,
        },
        0.14,
        {},
    ),
    "spiral-winding": AnswerScale({"tight": 0.0, "medium": 0.5, "loose": 1.0}, 0.25, {}),
    "spiral-arm-count": AnswerScale({"1": 1, "2": 2, "3": 3, "4": 4, "more-than-4": 5}, 0.6, {"cant-tell": 0.15}),
    "merging": AnswerScale(
        {
            "none": 0.0,
            "neither": 0.0,
            "minor-disturbance": 0.4,
            "tidal-debris": 0.4,
            "major-disturbance": 0.7,
            "both": 0.8,
            "merger": 1.0,
        },
        0.2,
        {},
    ),
    "something-odd": AnswerScale(YES_NO, 0.35, {}),
    "ring": AnswerScale(YES_NO, 0.35, {}),
}


def _values(galaxy: Galaxy) -> dict[str, float]:
    """Return the value of a galaxy on the scale of each question."""
    edge_on = float((1.0 - galaxy.bulge) / (1.0 + np.exp((galaxy.cos_inclination - 0.3) / 0.07)))
    facing = galaxy.facing
    structure = facing * max(galaxy.arm_contrast, galaxy.bar, galaxy.ring)
    return {
        "smooth-or-featured": min(1.0, max(edge_on, 1.3 * structure, 0.5 * (1.0 - galaxy.bulge))),
        "how-rounded": galaxy.axis_ratio if galaxy.bulge == 1.0 else float(np.hypot(galaxy.cos_inclination, 0.13)),
        "disk-edge-on": min(1.0, 1.3 * edge_on),
        "edge-on-bulge": galaxy.bulge,
        "bulge-shape": galaxy.bulge,
        "has-spiral-arms": min(1.0, 1.3 * facing * galaxy.arm_contrast),
        "bar": min(1.0, 1.3 * facing * galaxy.bar),
        "bulge-size": galaxy.bulge,
        "spiral-winding": (galaxy.pitch - 10.0) / 25.0,
        "spiral-arm-count": float(galaxy.n_arms or 2),
        "merging": galaxy.companion,
        "something-odd": min(1.0, max(galaxy.companion, facing * galaxy.ring)),
        "ring": min(1.0, 1.3 * facing * galaxy.ring),
    }


def is_ring(galaxy: Galaxy) -> bool:
    """Return whether an expert would see a ring."""
    return bool(_values(galaxy)["ring"] > 0.4)


def concentrations(galaxy: Galaxy, schema: Schema, *, agreement: float = 25.0) -> np.ndarray:
    """Return the concentrations of the Dirichlet distribution of the vote fractions, shape (answers,).

    An answer with probability p has the concentration ``1 + agreement * p``.

    Raises
    ------
    SchemaError
        If synthetic galaxies lack the property in question (clumps).
    """
    values = _values(galaxy)
    parts = [1.0 + agreement * _probabilities(question, values) for question in schema.questions]
    return np.concatenate(parts)


def _probabilities(question: Question, values: dict[str, float]) -> np.ndarray:
    """Return the probability of each answer to a question."""
    answers = [answer.name for answer in question.answers]
    topic = next((topic for topic in SCALES if f"{question.name}-".startswith(f"{topic}-")), None)
    if topic is None or not set(answers) <= {*SCALES[topic].places, *SCALES[topic].shares}:
        raise SchemaError(
            f"synthetic galaxies have no property for {question.name}; expected campaigns among dr12, dr5, dr8, gz2"
        )
    return SCALES[topic].probabilities(values[topic], answers)


def draw_votes(
    fractions: np.ndarray, schema: Schema, *, volunteers: int, asked: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the votes of volunteers who follow the tree of questions, shape (answers,).

    Parameters
    ----------
    fractions : array
        Fraction of each answer among the volunteers who are asked its question, shape (answers,).
    schema : Schema
        Questions of the answers.
    volunteers : int
        Number of volunteers who start.
    asked : array
        Root questions that are asked, boolean, shape (questions,); other questions follow from the answers.
    rng : numpy.random.Generator
        Random number generator.
    """
    votes = np.zeros(schema.n_answers)
    for number in schema.order:
        parents, columns = schema.parents(number), schema.slice_of(number)
        count = int(votes[parents].sum()) if parents else volunteers * bool(asked[number])
        votes[columns] = rng.multinomial(count, fractions[columns])
    return votes
