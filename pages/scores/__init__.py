"""Scores: the figures of prediction sets."""
