"""fractals."""
