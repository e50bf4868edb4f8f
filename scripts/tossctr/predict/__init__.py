"""Predictions of models, scores of new rows, and the submission."""
