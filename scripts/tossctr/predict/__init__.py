"""Predictions, scores of further files, and the submission."""
