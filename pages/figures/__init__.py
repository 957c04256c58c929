"""Figures: pictures and videos for papers and talks."""
