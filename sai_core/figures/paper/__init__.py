"""Figures for papers: Fig. 3 of the report, curves and bars, by matplotlib alone (no browser, no pyplot)."""
