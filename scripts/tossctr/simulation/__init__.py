"""A simulated stand-in for the Toss advertising click data, which may not be distributed.

Columns and event sequences follow published statistics (`statistics.json`). Clicks come from a
known model (`click_model.py`), so predictions can be compared with the true probabilities. Trained
models have about the same scores as on the real rows (benchmarks/twin.py).
"""
