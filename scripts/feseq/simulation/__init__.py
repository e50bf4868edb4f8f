"""A stand-in for the Toss advertising click data, where the real files may not be shipped.

Columns and event sequences follow published marginal statistics (`statistics.json`). Clicks come
from a known model (`clicks.py`), so that one can measure what a trained model has learned.
"""
