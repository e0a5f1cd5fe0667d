"""The fractal datasets by name: a sampler, and the window and threshold that suit it.

Their options are those of `FractalDataset`; where a default is another one, the class says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stellarfm.fractals.base import FractalDataset

__all__ = ["FlameDataset", "FractalDBDataset", "IFSDataset"]


@dataclass(kw_only=True, eq=False)
class FlameDataset(FractalDataset):
    """Fractal flames with nonlinear variations, after the mass paper (arXiv:2510.24159, section 2).

    The paper keeps frames of which 0.8 is covered, and finds 0.5 to train better features on natural images; it does
    not say what the frame is. Here it is the square [-1, 1]^2, in which three random flames in ten are accepted at
    0.8; in its own bounding box almost none is.
    """

    sampler: ClassVar[str] = "flames"


@dataclass(kw_only=True, eq=False)
class IFSDataset(FractalDataset):
    """Affine iterated function systems with controlled singular values (Anderson & Farrell 2022, arXiv:2110.03091).

    By default the window is the square around the central 96 % of the attractor along each axis, and a fifth of it is
    to be covered: affine attractors are thin, and all of them in view.
    """

    sampler: ClassVar[str] = "ifs"

    threshold: float = 0.2
    window: str = "quantile"


@dataclass(kw_only=True, eq=False)
class FractalDBDataset(FractalDataset):
    """FractalDB: affine systems with uniform coefficients (Kataoka et al. 2020, arXiv:2101.08515).

    There a genome is a category, accepted if its filling rate is high enough: 0.2 in the published recipe, of the frame
    that the fractal itself spans. These are the default threshold and window. Every index is a category of its own;
    the instances that the paper makes of each by small changes of the coefficients are left to the views of the
    pretraining method, and no labels are needed.
    """

    sampler: ClassVar[str] = "fractaldb"

    threshold: float = 0.2
    window: str = "box"
