"""Images on disk: any pretraining dataset written to PNG files, HDF5 files, or, as genomes, to JSON Lines.

`choose_output` selects the file format from a path, `generate` renders and encodes the images in order. Open
`stellarfm.fractals.export.generation` first; the HDF5 schema is described in `stellarfm.fractals.export.hdf5`.
"""

from stellarfm.fractals.export.generation import EncodedImage, GenerationTask, generate
from stellarfm.fractals.export.image_encoding import write_preview
from stellarfm.fractals.export.outputs import Output, choose_output

__all__ = ["EncodedImage", "GenerationTask", "Output", "choose_output", "generate", "write_preview"]
