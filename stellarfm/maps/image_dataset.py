"""Pretraining images from files: PNG, JPEG, FITS cutouts, and HDF5 files written by ``stellarfm fractals``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stellarfm.contracts import PretrainingDataset
from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError

__all__ = ["ImageDataset"]

PICTURES = (".png", ".jpg", ".jpeg")
FITS = (".fits", ".fits.gz", ".fit")
HDF5 = (".h5", ".hdf5")
STRETCHES = ("linear", "log")
#: Schema of the HDF5 files of `stellarfm.fractals.export.hdf5`.
SCHEMA, SCHEMA_VERSION = "stellarfm-images", 1


@dataclass(kw_only=True, eq=False)
class ImageDataset(PretrainingDataset):
    """Images of a file or of a folder including its subfolders; images are functions of the options and the index only.

    The central square of an image is resampled to `size` pixels. PNG and JPEG images are scaled to [0, 1]. FITS images
    (one 2-D image, or a 3-D array with channels first) are standardized one by one: the median becomes 0.5, and one
    standard deviation, estimated from the central 68 % of the values, becomes 0.2; blank pixels become 0.5. HDF5 files
    are those of ``stellarfm fractals``; all must have the same limits.

    Parameters
    ----------
    path : str
        Folder, or a single file. A folder must not change between the start and the end of a run.
    size : int
        Side of an image in pixels.
    seed : int
        Seed of the order of the images.
    channels : int
        Number of channels. An image with one channel is repeated; of an image with more channels than required the
        first ones are used, or, for one channel of a PNG or JPEG image, their mean.
    stretch : {"linear", "log"}
        Stretch of FITS images before they are standardized. For ``log``, values that are not positive are blank.

    Raises
    ------
    InputNotFoundError
        If `path` does not exist.
    MapError
        If there are no images, a file cannot be read, or an option is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(Path(folder, "a.png"))
    ...     dataset = ImageDataset(path=folder, size=16)
    ...     dataset.image(0).shape
    (3, 16, 16)
    """

    path: str
    size: int = 64
    seed: int = 0
    channels: int = 3
    stretch: str = "linear"

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels < 1:
            raise MapError(f"size is {self.size} and channels is {self.channels}; expected at least 1")
        if self.stretch not in STRETCHES:
            raise MapError(f"stretch is {self.stretch!r}; expected one of {', '.join(STRETCHES)}")
        self._files = list(_image_files(Path(self.path)))
        tables = [_read_header(file) if file.name.lower().endswith(HDF5) else (1, (0.0, 1.0)) for file in self._files]
        limits = {limits for _, limits in tables}
        if len(limits) > 1:
            raise MapError(f"{self.path}: files have different limits {sorted(limits)}; use a separate folder for each")
        (self.limits,) = limits  # type: ignore[misc]
        self._ends = np.cumsum([count for count, _ in tables])
        self._order = np.random.default_rng(self.seed).permutation(self._ends[-1])

    def __len__(self) -> int:
        return len(self._order)

    def image(self, index: int) -> np.ndarray:
        """Return image number `index`, float32 within `limits` of shape (channels, size, size).

        Raises
        ------
        IndexError
            If `index` is not in 0 ... len - 1.
        MapError
            If the file cannot be read, or its number of channels does not fit.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of a dataset of {len(self)}; expected 0 to {len(self) - 1}")
        number = int(self._order[index])
        file = int(np.searchsorted(self._ends, number, side="right"))
        path, name = self._files[file], self._files[file].name.lower()
        if name.endswith(HDF5):
            image = _read_hdf5(path, number - (int(self._ends[file - 1]) if file else 0), self.limits)
        elif name.endswith(FITS):
            image = _standardize(_read_fits(path), self.stretch)
        else:
            image = _read_picture(path, self.channels)
        if len(image) == 1:
            image = np.repeat(image, self.channels, axis=0)
        if len(image) < self.channels:
            raise MapError(f"{path}: image has {len(image)} channels, channels is {self.channels}; use fewer channels")
        low, high = map(np.float32, self.limits)
        return np.clip(_resample(image[: self.channels], self.size), low, high)


def _image_files(path: Path) -> Iterator[Path]:
    """Yield the image files of a folder in the order of their relative paths, or a single file."""
    suffixes = (*PICTURES, *FITS, *HDF5)
    if not path.exists():
        raise InputNotFoundError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(path.rglob("*"), key=lambda file: file.relative_to(path).as_posix())
    found = [file for file in files if file.name.lower().endswith(suffixes) and file.is_file()]
    if not found:
        raise MapError(f"{path}: no images found; expected files ending in {', '.join(suffixes)}")
    yield from found


def _read_header(path: Path) -> tuple[int, tuple[float, float]]:
    """Return number of images and limits of an HDF5 file."""
    from stellarfm.hdf5 import open_hdf5

    try:
        with open_hdf5(path) as file:
            schema = file.attrs.get("schema"), file.attrs.get("schema_version")
            if schema != (SCHEMA, SCHEMA_VERSION):
                raise MapError(
                    f"{path}: schema is {schema[0]} version {schema[1]}; expected {SCHEMA} version {SCHEMA_VERSION}, "
                    "as written by stellarfm fractals"
                )
            low, high = file.attrs["limits"]
            return len(file["images"]), (float(low), float(high))
    except ReaderError:
        raise
    except (OSError, KeyError) as error:
        raise MapError(f"{path}: cannot be read ({error}); expected a file written by stellarfm fractals") from error


def _read_hdf5(path: Path, number: int, limits: tuple[float, float]) -> np.ndarray:
    """Return one image of an HDF5 file; it is opened for each image, because processes cannot share open files."""
    from stellarfm.hdf5 import open_hdf5

    low, high = limits
    try:
        with open_hdf5(path) as file:
            pixels = file["images"][number].astype(np.float32)
    except (OSError, KeyError) as error:
        raise MapError(f"{path}: image {number} cannot be read ({error}); write the file again") from error
    return pixels * np.float32((high - low) / 255.0) + np.float32(low)


def _read_picture(path: Path, channels: int) -> np.ndarray:
    """Return a PNG or JPEG image in [0, 1], shape (1 or 3, height, width)."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            deep = picture.mode.startswith("I")
            gray = deep or picture.mode in ("1", "L", "LA")
            pixels = np.asarray(picture if deep else picture.convert("L" if gray else "RGB"), dtype=np.float32)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MapError(f"{path}: cannot be read as an image ({error}); replace or remove the file") from error
    image = np.moveaxis(np.atleast_3d(pixels), 2, 0) / np.float32(65535.0 if deep else 255.0)
    return image.mean(axis=0, keepdims=True) if channels == 1 else image


def _read_fits(path: Path) -> np.ndarray:
    """Return the first image of a FITS file, shape (channels, height, width)."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            arrays = [np.squeeze(np.asarray(hdu.data, dtype=np.float64)) for hdu in hdus if hdu.is_image and hdu.size]
    except (OSError, ValueError, TypeError) as error:
        raise MapError(f"{path}: cannot be read as FITS ({error}); replace or remove the file") from error
    if not arrays or arrays[0].ndim not in (2, 3):
        raise MapError(f"{path}: expected a 2-D image, or a 3-D array with channels first")
    return np.atleast_3d(arrays[0].T).T


def _standardize(image: np.ndarray, stretch: str) -> np.ndarray:
    """Return float32 channels with a median of 0.5 and 0.2 per standard deviation, within [0, 1]; blanks are 0.5."""
    if stretch == "log":
        image = np.log10(image, where=image > 0, out=np.full_like(image, np.nan))
    planes = []
    for plane in image:
        finite = plane[np.isfinite(plane)]
        low, median, high = np.quantile(finite, [0.16, 0.5, 0.84]) if finite.size else (0.0, 0.0, 0.0)
        scaled = 0.5 + 0.2 * (plane - median) / (0.5 * (high - low) or 1.0)
        planes.append(np.nan_to_num(np.where(np.isfinite(plane), scaled, 0.5)).clip(0.0, 1.0))
    return np.stack(planes).astype(np.float32)


def _resample(image: np.ndarray, size: int) -> np.ndarray:
    """Return the central square of an image, resampled to `size` pixels by an antialiased bilinear filter."""
    from PIL import Image

    side = min(image.shape[1:])
    top, left = ((n - side) // 2 for n in image.shape[1:])
    square = image[:, top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    planes = [Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR) for plane in square]
    return np.stack([np.asarray(plane) for plane in planes])
