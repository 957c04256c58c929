"""Home: where to begin."""
