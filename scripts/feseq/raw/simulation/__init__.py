"""A stand-in for the Toss advertising click data, where the real files may not be shipped.

Columns and event sequences follow published marginal statistics (`statistics.json`); the clicks
come from a planted click model, the sum of the parts in `click_components.py`, so that one can
measure which of them a trained model has found.
"""

from .stand_in import simulate_split

__all__ = ["simulate_split"]
