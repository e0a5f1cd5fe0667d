"""Segmentation: segments of a field or of windows, and their FITS form."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from stellarfm.maps.io.fits_image import write_hdus
from stellarfm.output import new_file

__all__ = ["Segmentation"]


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """Segments of a field (ny, nx) or of N windows (N, ny, nx).

    Attributes
    ----------
    labels : ndarray
        int16: 0 no data, 1 the most diffuse segment, rising with mean column density.
    components : ndarray
        float32, shape (3, ...): the first three principal components of the patch features; NaN without data.
    confidence : ndarray
        float32: 0 on a border between segments, 1 in the middle of one; NaN without data.
    ood : ndarray
        float32: distance to the patches of the reference set; above 1 farther than 99 % of them; NaN without data.
    wcs : WCS
        Coordinates of `labels`: celestial for a field; offsets in pc and the number of the window for windows.
    segments : QTable
        Columns ``segment``, ``pixels``, ``area``, and the means ``column_density``, ``velocity`` and
        ``velocity_dispersion`` of each segment.
    meta : dict
        Provenance.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import QTable
    >>> from astropy.wcs import WCS
    >>> labels, maps = np.ones((4, 4), np.int16), np.ones((4, 4), np.float32)
    >>> Segmentation(labels, np.stack([maps] * 3), maps, maps, WCS(naxis=2), QTable({"segment": [1]}))
    Segmentation(1 segments on 100 % of (4, 4) pixels)
    """

    labels: np.ndarray
    components: np.ndarray
    confidence: np.ndarray
    ood: np.ndarray
    wcs: WCS
    segments: QTable
    meta: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return shape, number of segments and fraction of pixels with data."""
        used = 100 * (self.labels > 0).mean()
        return f"Segmentation({len(self.segments)} segments on {used:.0f} % of {self.labels.shape} pixels)"

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write labels (HDU 0), PCA, CONFIDENCE, OOD, SEGMENTS and PROVENANCE to a FITS file, and return its path.

        Every image has the WCS of the input; PCA has one more axis, FEATURE, which counts the components from 1.

        Raises
        ------
        OutputExistsError
            If `path` exists and `overwrite` is False.
        """
        header = self.wcs.to_header(relax=True)
        labels = fits.PrimaryHDU(self.labels, _with_btype(header, "segment; 0: no data, 1: the most diffuse"))
        pca = fits.ImageHDU(self.components, _feature_header(header, self.labels.ndim + 1), name="PCA")
        inside = _with_btype(header, "0 on a border, 1 inside a segment")
        confidence = fits.ImageHDU(self.confidence, inside, name="CONFIDENCE")
        ood = fits.ImageHDU(self.ood, _with_btype(header, "above 1: unlike the reference patches"), name="OOD")
        segments = fits.table_to_hdu(self.segments)
        segments.name = "SEGMENTS"
        with new_file(path, overwrite=overwrite) as temporary:
            write_hdus([labels, pca, confidence, ood, segments, _provenance(self.meta)], temporary)
        return Path(path)


def _with_btype(header: fits.Header, meaning: str) -> fits.Header:
    """Return a copy of `header` whose BTYPE holds the meaning of the values."""
    described = header.copy()
    described["BTYPE"] = meaning
    return described


def _feature_header(header: fits.Header, axis: int) -> fits.Header:
    """Return `header` with one more, linear `axis`: the number of the component."""
    extended = _with_btype(header, "principal components of the patch features")
    extended["WCSAXES"] = axis
    for key, value in (("CTYPE", "FEATURE"), ("CRPIX", 1.0), ("CRVAL", 1.0), ("CDELT", 1.0)):
        extended[f"{key}{axis}"] = value
    WCS(extended)  # raises here rather than in the programs that read the file
    return extended


def _provenance(meta: dict[str, Any]) -> fits.BinTableHDU:
    """Return the meta data as a table of keys and values."""
    keys, values = list(meta), [str(value) for value in meta.values()]
    hdu = fits.table_to_hdu(Table({"key": np.array(keys), "value": np.array(values)}))
    hdu.name = "PROVENANCE"
    return hdu
