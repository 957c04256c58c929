"""Predict: networks on recordings."""
