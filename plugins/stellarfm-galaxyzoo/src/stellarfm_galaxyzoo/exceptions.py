"""Errors of this plugin; each is one of stellarfm's too, so that a command prints it in one line."""

from stellarfm.exceptions import StellarFMError

__all__ = ["CatalogueError", "ImageError", "SchemaError"]


class SchemaError(StellarFMError, ValueError):
    """Questions that contradict each other, or a file that holds none."""


class CatalogueError(StellarFMError, ValueError):
    """A catalogue without what is needed, or with votes that cannot be."""


class ImageError(StellarFMError, OSError):
    """An image file that cannot be read, or that does not fit the others."""
