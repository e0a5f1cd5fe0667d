"""Fractal flames: the images that encoders are pretrained on, made by formula and never stored."""

from stellarfm.fractals.base import FractalDataset, FractalImage
from stellarfm.fractals.datasets import FlameDataset, FractalDBDataset, IFSDataset
from stellarfm.fractals.genomes.genome import FlameMap, Genome, Transform
from stellarfm.fractals.genomes.samplers import SAMPLERS, sample_genome
from stellarfm.fractals.genomes.variations import VARIATIONS

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
