"""Doctor: what is installed, and what is wrong with the data."""
