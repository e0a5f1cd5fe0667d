"""Fractal images for pretraining, computed from a seed and an index and never stored.

A sampler draws a `Genome` from (seed, index, attempt); a renderer plays its chaos game into an integer histogram; tone
mapping turns the histogram into a float32 image in [0, 1]. Frames that are too empty or too flat are rejected and the
next candidate is tried. Open `stellarfm.fractals.datasets` first.

============================  ======================================================================
``datasets``                  pretraining datasets: `FlameDataset`, `IFSDataset`, `FractalDBDataset`
``options``                   options of a dataset, and its candidates
``candidate_search``          search for one image on the CPU
``batch_search``              search for a batch of images on a GPU
``acceptance``                coverage and contrast of a frame
``tone_mapping``              histogram to image
``genomes``                   maps, variations, samplers
``rendering``                 chaos game with numba, torch and Triton
``export``                    images written to PNG and HDF5 files
============================  ======================================================================
"""

from stellarfm.fractals.candidate_search import FractalImage
from stellarfm.fractals.datasets import (
    FlameDataset,
    FractalDataset,
    FractalDBDataset,
    GenomeDataset,
    IFSDataset,
    read_genomes,
)
from stellarfm.fractals.genomes.genome import FlameMap, Genome, Transform
from stellarfm.fractals.genomes.samplers import SAMPLERS, sample_genome
from stellarfm.fractals.genomes.variations import VARIATIONS
from stellarfm.fractals.options import FractalOptions

__all__ = [
    "SAMPLERS",
    "VARIATIONS",
    "FlameDataset",
    "FlameMap",
    "FractalDBDataset",
    "FractalDataset",
    "FractalImage",
    "FractalOptions",
    "Genome",
    "GenomeDataset",
    "IFSDataset",
    "Transform",
    "read_genomes",
    "sample_genome",
]
