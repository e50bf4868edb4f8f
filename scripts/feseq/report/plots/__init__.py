"""Plots of single models, of all models, and of the data, as SVG files."""
