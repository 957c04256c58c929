"""Acoustic front end: visibilities, LAM and UpLAM, projection, STAIRS26 labels, the rigid sphere, simulation."""
