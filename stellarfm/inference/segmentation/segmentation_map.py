"""The FITS form of a segmentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from stellarfm.maps.io.fits_image import write_hdus
from stellarfm.output import new_file

if TYPE_CHECKING:
    from stellarfm.inference.segmentation.segment import Segmentation

__all__ = ["write_segmentation"]


def write_segmentation(segmentation: Segmentation, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Write labels (HDU 0), PCA, CONFIDENCE, OOD, SEGMENTS and PROVENANCE.

    Every image has the WCS of the input; PCA has one axis more, FEATURE, that counts the components from 1.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False.
    """
    header = segmentation.wcs.to_header(relax=True)
    hdus = [
        fits.PrimaryHDU(segmentation.labels, _described(header, "segment; 0 is no data, 1 the most diffuse")),
        fits.ImageHDU(segmentation.components, _feature_header(header, segmentation), name="PCA"),
        fits.ImageHDU(
            segmentation.confidence, _described(header, "0 on a border, 1 inside a segment"), name="CONFIDENCE"
        ),
        fits.ImageHDU(segmentation.ood, _described(header, "above 1: unlike the reference patches"), name="OOD"),
        _segments(segmentation),
        _provenance(segmentation),
    ]
    with new_file(path, overwrite=overwrite) as temporary:
        write_hdus(hdus, temporary)
    return Path(path)


def _described(header: fits.Header, what: str) -> fits.Header:
    """A copy of `header` that says what the values are."""
    described = header.copy()
    described["BTYPE"] = what
    return described


def _feature_header(header: fits.Header, segmentation: Segmentation) -> fits.Header:
    """`header` with one more, linear axis: the number of the component."""
    axis = segmentation.labels.ndim + 1
    extended = _described(header, "principal components of the patch features")
    extended["WCSAXES"] = axis
    for key, value in (("CTYPE", "FEATURE"), ("CRPIX", 1.0), ("CRVAL", 1.0), ("CDELT", 1.0)):
        extended[f"{key}{axis}"] = value
    WCS(extended)  # raises now, not in the reader's hands
    return extended


def _segments(segmentation: Segmentation) -> fits.BinTableHDU:
    """One row a segment."""
    hdu = fits.table_to_hdu(segmentation.segments)
    hdu.name = "SEGMENTS"
    return hdu


def _provenance(segmentation: Segmentation) -> fits.BinTableHDU:
    """The meta data as keys and values."""
    keys, values = list(segmentation.meta), [str(value) for value in segmentation.meta.values()]
    hdu = fits.table_to_hdu(Table({"key": np.array(keys), "value": np.array(values)}))
    hdu.name = "PROVENANCE"
    return hdu
