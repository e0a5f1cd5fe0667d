"""Errors of this plugin. All are errors of stellarfm, which commands print in one line."""

from stellarfm.exceptions import StellarFMError

__all__ = ["CatalogueError", "ImageError", "SchemaError"]


class SchemaError(StellarFMError, ValueError):
    """Invalid schema: inconsistent questions, or a file that is not a schema."""


class CatalogueError(StellarFMError, ValueError):
    """Invalid catalogue: missing columns or invalid votes."""


class ImageError(StellarFMError, OSError):
    """Unreadable image file, or an image that differs from the others in its number of channels."""
