"""Simulated recordings in the official layout: physics for the sound, ray casting for the picture.

``scene`` draws what happens, ``speech`` and ``sounds`` make the sounds, ``room``, ``propagate`` and ``sphere`` carry
them to the 32 capsules of a rigid sphere, ``audio`` mixes. ``docs/simulation.md`` says what is modelled and what is
not. Nothing is imported here.
"""
