"""A stand-in for the Toss advertising click data, where the real files may not be shipped.

Columns and event sequences follow published statistics (`statistics.json`). Clicks come from a
known model (`click_model.py`), so that one can measure what a trained model has learned. Models
score about as on the real rows (benchmarks/twin.py).
"""
