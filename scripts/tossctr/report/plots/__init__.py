"""Plots of single models, and the look that all plots share."""
