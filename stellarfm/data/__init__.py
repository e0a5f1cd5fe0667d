"""Bundled model and example field."""
