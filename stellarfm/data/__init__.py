"""Bundled model and example field."""

from pathlib import Path

__all__ = ["EXAMPLE_FIELD"]

#: A simulated cloud as an observer would map it, with the true masses of its stars; no reference set holds it.
EXAMPLE_FIELD = Path(__file__).with_name("example_field.fits")
