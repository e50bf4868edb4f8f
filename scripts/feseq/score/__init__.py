"""Scores of new rows, straight from parquet, by models of either family."""
