"""A stand-in for the Toss advertising click data, where the real files may not be shipped.

Columns and event sequences follow published marginal statistics (`statistics.json`); the clicks
come from a planted model whose parts are named in `clicks.py`, so that one can measure which of
them a trained model has found.
"""

from .split import simulate_split

__all__ = ["simulate_split"]
