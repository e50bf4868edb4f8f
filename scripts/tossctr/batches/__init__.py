"""Batches of a table's rows: shuffled, with negatives sampled, grouped by history length."""
