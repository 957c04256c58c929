"""Training data of UpLAM: sounds and scenes drawn on the fly, and what the network must reproduce.

``sounds`` synthesises a bank of mono sounds, ``scenes`` puts them into rooms around a rigid sphere and gives block
spectra of all 32 capsules, ``targets`` turns those into what the network must reproduce (everything comes from the
32-channel matrix: no direction of any source is ever shown to it), ``blocks`` keeps drawn frames in the cache.
"""
