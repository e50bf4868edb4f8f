"""Measure predictions: metrics, their intervals, baselines, blends, importance of columns."""
