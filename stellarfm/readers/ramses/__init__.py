"""ramses."""
