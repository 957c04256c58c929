"""Tune: post-processing settings with their figures."""
