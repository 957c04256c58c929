"""Hearing a direction of a recording: spherical-harmonic encoding, beams, one source alone, two ears.

Conventions, for every module of this room: directions as in :mod:`sai_core.geometry`; harmonics real, in ACN order (W,
Y, Z, X, ...), SN3D unless a name says otherwise, so that a plane wave of unit pressure has ``W = 1`` and a first-order
recording (FOA) is taken as it is; 24 kHz; time 0 is the centre of the sphere, so that nothing here delays the sound
against the picture. Figures: ``docs/listening.md``.
"""
