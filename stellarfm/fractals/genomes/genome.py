"""Genomes: the numbers that define a fractal flame, and their JSON form.

A genome is a system of two to eight maps of the plane (Draves & Reckase 2008, section 3): each consists of an affine
map, a weighted sum of nonlinear `variations` of its result, and an optional second affine map. A final map may deform
the image without being part of the orbit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes.variations import VARIATIONS

__all__ = ["FlameMap", "Genome", "Transform"]

SCHEMA = "stellarfm-genome"
SCHEMA_VERSION = 1
MINIMUM_MAPS, MAXIMUM_MAPS = 2, 8


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Map of the plane: ``post(sum_k weight_k V_k(affine(x, y)))``.

    Attributes
    ----------
    affine : tuple of float
        (a, b, c, d, e, f): x' = a x + b y + c, y' = d x + e y + f.
    variations : tuple of (str, float)
        Names in `VARIATIONS` and their weights.
    post : tuple of float or None
        Affine map after the variations; None for the identity.

    Raises
    ------
    FractalError
        If a coefficient or a weight is not finite, a name is unknown or repeated, or there is no variation.

    Examples
    --------
    >>> swirl = Transform(affine=(1, 0, 0, 0, 1, 0), variations=(("swirl", 0.5), ("linear", 0.5)))
    >>> swirl.post is None
    True
    """

    affine: tuple[float, ...]
    variations: tuple[tuple[str, float], ...] = (("linear", 1.0),)
    post: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_affine(self.affine, "affine")
        if self.post is not None:
            _check_affine(self.post, "post")
        if not self.variations:
            raise FractalError('variations of a map are empty; expected at least {"linear": 1.0}')
        if len(dict(self.variations)) < len(self.variations):
            raise FractalError(
                f"variations {self.variations} repeat a name; expected each once, with the sum of its weights"
            )
        for name, weight in self.variations:
            if name not in VARIATIONS:
                raise FractalError(f"unknown variation {name!r}; the variations are {', '.join(VARIATIONS)}")
            if not math.isfinite(weight):
                raise FractalError(f"weight of variation {name!r} is {weight}; expected a finite number")


@dataclass(frozen=True, kw_only=True)
class FlameMap(Transform):
    """A `Transform` of the orbit, with a probability and a color.

    Attributes
    ----------
    probability : float
        Relative frequency, positive; normalized within a genome.
    color : float
        Color coordinate in [0, 1]; the color of the orbit moves half-way to it (Draves & Reckase 2008, section 5).

    Raises
    ------
    FractalError
        If the probability is not positive, the color is not in [0, 1], or the transform is invalid.

    Examples
    --------
    >>> FlameMap(affine=(0.5, 0, 0, 0, 0.5, 0)).probability
    1.0
    """

    probability: float = 1.0
    color: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.probability) and self.probability > 0):
            raise FractalError(f"probability of a map is {self.probability}; expected a positive number")
        if not 0 <= self.color <= 1:
            raise FractalError(f"color of a map is {self.color}; expected a number in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Genome:
    """System of maps that defines a fractal flame.

    Attributes
    ----------
    maps : tuple of FlameMap
        Two to eight maps.
    final : Transform or None
        Map applied to each drawn point, not to the orbit.

    Raises
    ------
    FractalError
        If the number of maps is out of range.

    Examples
    --------
    >>> corners = ((-0.5, 0.5), (0.5, 0.5), (0.0, -0.5))
    >>> sierpinski = Genome(maps=tuple(FlameMap(affine=(0.5, 0, x, 0, 0.5, y)) for x, y in corners))
    >>> Genome.from_json(sierpinski.to_json()) == sierpinski
    True
    """

    maps: tuple[FlameMap, ...]
    final: Transform | None = None

    def __post_init__(self) -> None:
        if not MINIMUM_MAPS <= len(self.maps) <= MAXIMUM_MAPS:
            raise FractalError(f"genome has {len(self.maps)} maps; expected {MINIMUM_MAPS} to {MAXIMUM_MAPS}")

    def to_json(self) -> str:
        """Return the genome as one line of JSON, from which `from_json` restores an equal genome."""
        maps = [{**_as_dict(m), "probability": m.probability, "colour": m.color} for m in self.maps]
        final = None if self.final is None else _as_dict(self.final)
        return json.dumps({"schema": SCHEMA, "version": SCHEMA_VERSION, "maps": maps, "final": final})

    @classmethod
    def from_json(cls, text: str) -> Genome:
        """Return the genome that `to_json` wrote.

        Raises
        ------
        FractalError
            If `text` is not JSON, not a genome, has another schema version, or holds a value out of range.
        """
        content = _parse(text)
        if not isinstance(content.get("maps"), list):
            raise FractalError('genome: "maps" is missing or not a list; expected a list of 2 to 8 maps')
        maps = tuple(_read_map(item, f"genome map {number}") for number, item in enumerate(content["maps"]))
        final = content.get("final")
        return cls(maps=maps, final=None if final is None else _read_transform(final, "genome final map"))


def _check_affine(numbers: tuple[float, ...], name: str) -> None:
    """Raise `FractalError` unless `numbers` are six finite numbers."""
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise FractalError(f"{name} is {numbers}; expected six finite numbers a, b, c, d, e, f")


def _as_dict(transform: Transform) -> dict[str, Any]:
    """Return the JSON form of a transform."""
    post = None if transform.post is None else list(transform.post)
    return {"affine": list(transform.affine), "variations": dict(transform.variations), "post": post}


def _parse(text: str) -> Mapping[str, Any]:
    """Return the decoded JSON after checking its schema and version."""
    try:
        content = json.loads(text)
    except (TypeError, ValueError) as error:
        raise FractalError(f"genome is not valid JSON ({error}); expected the output of Genome.to_json") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise FractalError(f'JSON is not a genome: expected an object with "schema": "{SCHEMA}"')
    if content.get("version") != SCHEMA_VERSION:
        version = content.get("version")
        raise FractalError(f"genome has schema version {version!r}; this release reads version {SCHEMA_VERSION}")
    return content


def _read_transform(item: Any, where: str) -> Transform:
    """Return a transform from its JSON form."""
    try:
        return Transform(**_transform_fields(item))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FractalError(f"{where}: {_reason(error)}") from error


def _read_map(item: Any, where: str) -> FlameMap:
    """Return a map from its JSON form."""
    try:
        fields = _transform_fields(item)
        return FlameMap(probability=float(item["probability"]), color=float(item["colour"]), **fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FractalError(f"{where}: {_reason(error)}") from error


def _transform_fields(item: Any) -> dict[str, Any]:
    """Return the fields of a transform as tuples of floats."""
    post = item.get("post")
    return {
        "affine": tuple(map(float, item["affine"])),
        "variations": tuple((name, float(weight)) for name, weight in item["variations"].items()),
        "post": None if post is None else tuple(map(float, post)),
    }


def _reason(error: Exception) -> str:
    """Return the message of an error of `_read_transform` or `_read_map`."""
    return f"{error} is missing; add it" if isinstance(error, KeyError) else str(error)
