"""Annotations in the formats of other programs, out and, where it makes sense, back (docs/interchange.md)."""
