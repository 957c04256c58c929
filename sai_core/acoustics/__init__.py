"""Acoustic maps: from microphone signals to nine-band energy on the sphere.

``audio_input`` opens a recording, ``visibility`` makes one matrix per frame and band, ``networks`` (LAM, UpLAM) or
``beamformer`` turn matrices into energy on the 484-point lattice, ``projection`` expands that to the canvas,
``features`` and ``store`` do it for whole recordings, once; ``rigid_sphere`` is the physics of the array.
Nothing is imported here, so that reading a constant does not load torch.
"""
