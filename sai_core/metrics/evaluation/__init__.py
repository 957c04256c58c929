"""Figures of recordings and sets by any revision: scores, matches, merging, and what is kept of them."""
