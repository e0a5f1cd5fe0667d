"""deposition."""
