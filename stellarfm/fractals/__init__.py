"""Fractal flames: the images that encoders are pretrained on, made by formula and never stored."""

from stellarfm.fractals.base import FractalDataset, FractalImage
from stellarfm.fractals.dataset import FlameDataset, FractalDBDataset, IFSDataset
from stellarfm.fractals.genome import FlameMap, Genome, Transform
from stellarfm.fractals.samplers import SAMPLERS, sample_genome
from stellarfm.fractals.variations import VARIATIONS

__all__ = [
    "SAMPLERS",
    "VARIATIONS",
    "FlameDataset",
    "FlameMap",
    "FractalDBDataset",
    "FractalDataset",
    "FractalImage",
    "Genome",
    "IFSDataset",
    "Transform",
    "sample_genome",
]
