"""Dataset: all recordings of a set, and what they add up to."""
