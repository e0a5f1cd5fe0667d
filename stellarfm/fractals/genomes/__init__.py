"""Genomes: the maps that define a fractal flame, and the samplers that draw them from (seed, index, attempt).

Open `stellarfm.fractals.genomes.genome` first. The formulas of the variations are written once, in `variations` and
`portable_math`, and compiled for numpy, numba, torch and Triton.
"""

from stellarfm.fractals.genomes.genome import FlameMap, Genome, Transform
from stellarfm.fractals.genomes.random_stream import RandomStream
from stellarfm.fractals.genomes.samplers import SAMPLERS, sample_genome
from stellarfm.fractals.genomes.variations import VARIATIONS

__all__ = ["SAMPLERS", "VARIATIONS", "FlameMap", "Genome", "RandomStream", "Transform", "sample_genome"]
