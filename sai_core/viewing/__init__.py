"""Opened recordings and what the player shows of them: blocks of frames, events, comparisons, acoustic layers."""
