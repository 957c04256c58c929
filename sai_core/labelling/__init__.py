"""STAIRS26 labels from 32-channel recordings.

``recipe`` makes the label of a recording out of ``intensity`` (samples to the lattice, solved by ``apgd``),
``interpolation`` (lattice to canvas) and ``regions`` (canvas to the pixels of a metadata row); ``job`` does it from
file to file. Nothing is imported here.
"""
