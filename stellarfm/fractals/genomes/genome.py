"""Genomes: the few numbers that define a fractal flame.

A genome is a system of two to eight maps of the plane (Draves & Reckase 2008, section 3): each an affine map, a
weighted sum of nonlinear `variations` of its result, and an optional second affine map. A final map may bend the
picture without being part of the orbit.
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
    """One map of the plane: ``post(sum_k weight_k V_k(affine(x, y)))``.

    Attributes
    ----------
    affine : tuple of float
        (a, b, c, d, e, f): x' = a x + b y + c, y' = d x + e y + f.
    variations : tuple of (str, float)
        Names out of `VARIATIONS` and their weights.
    post : tuple of float or None
        Affine map after the variations; None leaves the point alone.

    Raises
    ------
    FractalError
        If a coefficient or a weight is not finite, a name is unknown or comes twice, or there is no variation.
    """

    affine: tuple[float, ...]
    variations: tuple[tuple[str, float], ...] = (("linear", 1.0),)
    post: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_affine(self.affine, "affine")
        if self.post is not None:
            _check_affine(self.post, "post")
        if not self.variations:
            raise FractalError('a map has no variations; give at least {"linear": 1.0}')
        if len(dict(self.variations)) < len(self.variations):
            raise FractalError(f"variations {self.variations} name one twice; give the sum of its weights")
        for name, weight in self.variations:
            if name not in VARIATIONS:
                raise FractalError(f"unknown variation {name!r}; the variations are {', '.join(VARIATIONS)}")
            if not math.isfinite(weight):
                raise FractalError(f"weight of variation {name!r} is {weight}; expected a finite number")


@dataclass(frozen=True, kw_only=True)
class FlameMap(Transform):
    """A `Transform` that the orbit may take.

    Attributes
    ----------
    probability : float
        Relative frequency, positive; a genome normalises them.
    colour : float
        Colour coordinate in [0, 1] that the orbit moves half-way to (Draves & Reckase 2008, section 5).
    """

    probability: float = 1.0
    colour: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.probability) and self.probability > 0):
            raise FractalError(f"probability of a map is {self.probability}; expected a positive number")
        if not 0 <= self.colour <= 1:
            raise FractalError(f"colour of a map is {self.colour}; expected a number in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Genome:
    """A whole system of maps.

    Attributes
    ----------
    maps : tuple of FlameMap
        Two to eight maps.
    final : Transform or None
        Applied to each point that is drawn, not to the orbit.

    Raises
    ------
    FractalError
        If the number of maps is out of range.
    """

    maps: tuple[FlameMap, ...]
    final: Transform | None = None

    def __post_init__(self) -> None:
        if not MINIMUM_MAPS <= len(self.maps) <= MAXIMUM_MAPS:
            raise FractalError(f"genome has {len(self.maps)} maps; expected {MINIMUM_MAPS} to {MAXIMUM_MAPS}")

    def to_json(self) -> str:
        """The genome as one line of JSON; `from_json` gives an equal genome back, bit for bit."""
        maps = [{**_as_dict(m), "probability": m.probability, "colour": m.colour} for m in self.maps]
        final = None if self.final is None else _as_dict(self.final)
        return json.dumps({"schema": SCHEMA, "version": SCHEMA_VERSION, "maps": maps, "final": final})

    @classmethod
    def from_json(cls, text: str) -> Genome:
        """Read what `to_json` wrote.

        Raises
        ------
        FractalError
            If `text` is no JSON, no genome, of another version, or holds a value out of range.
        """
        content = _parse(text)
        if not isinstance(content.get("maps"), list):
            raise FractalError('genome: "maps" is missing or no list; expected a list of 2 to 8 maps')
        maps = tuple(_read_map(item, f"genome map {number}") for number, item in enumerate(content["maps"]))
        final = content.get("final")
        return cls(maps=maps, final=None if final is None else _read_transform(final, "genome final map"))


def _check_affine(numbers: tuple[float, ...], name: str) -> None:
    """Six finite numbers, or a `FractalError`."""
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise FractalError(f"{name} is {numbers}; expected six finite numbers a, b, c, d, e, f")


def _as_dict(transform: Transform) -> dict[str, Any]:
    """JSON form of a transform."""
    post = None if transform.post is None else list(transform.post)
    return {"affine": list(transform.affine), "variations": dict(transform.variations), "post": post}


def _parse(text: str) -> Mapping[str, Any]:
    """Decode the JSON and check its schema and version."""
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
    """A transform from its JSON form."""
    try:
        return Transform(**_transform_fields(item))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FractalError(f"{where}: {_reason(error)}") from error


def _read_map(item: Any, where: str) -> FlameMap:
    """A map from its JSON form."""
    try:
        fields = _transform_fields(item)
        return FlameMap(probability=float(item["probability"]), colour=float(item["colour"]), **fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FractalError(f"{where}: {_reason(error)}") from error


def _transform_fields(item: Any) -> dict[str, Any]:
    """The fields of a transform, converted to tuples of floats."""
    post = item.get("post")
    return {
        "affine": tuple(map(float, item["affine"])),
        "variations": tuple((name, float(weight)) for name, weight in item["variations"].items()),
        "post": None if post is None else tuple(map(float, post)),
    }


def _reason(error: Exception) -> str:
    """What is wrong, in words."""
    return f"{error} is missing; add it" if isinstance(error, KeyError) else str(error)
