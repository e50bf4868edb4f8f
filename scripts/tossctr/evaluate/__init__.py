"""How good predictions are: metrics, their intervals, baselines, blends."""
