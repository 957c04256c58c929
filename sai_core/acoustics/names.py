"""Names of the recipes and options of the acoustic front end, for settings that are read without torch."""

from __future__ import annotations

from typing import Literal

Recipe = Literal["official", "report", "precedence"]
"""Of the visibilities (:mod:`sai_core.acoustics.visibility`)."""

RecipeOrOwn = Literal["", "official", "report", "precedence"]
"""A recipe in settings; empty for the one that the acoustic weights were trained with."""

Normalise = Literal["largest_eigenvalue", "frame", "none"]
"""Of a visibility matrix before a network."""

HermitianRule = Literal["lower", "mean"]
"""How UpLAM's enlarged matrix becomes Hermitian."""

Grid = Literal["official", "great_circle", "label"]
"""Pixels that the lattice of maps is laid on (:mod:`sai_core.acoustics.projection`)."""

Magnitude = Literal["normalised", "amplitude", "power"]
"""How the energies of a map enter a network (:mod:`sai_core.acoustics.features`)."""
