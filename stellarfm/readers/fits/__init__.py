"""FITS files: finished maps, cubes of simulations, spectral cubes.

In: a FITS file. Out: `GasMaps` from maps and from spectral cubes (position-position-velocity), a `Snapshot` from cubes
of density and velocity (position-position-position). Start with `reader`, which distinguishes the three.
"""

from __future__ import annotations

from stellarfm.readers.fits.ppp import PPPReader
from stellarfm.readers.fits.ppv import PPVReader
from stellarfm.readers.fits.reader import FITSReader

__all__ = ["FITSReader", "PPPReader", "PPVReader"]
