"""masses."""
