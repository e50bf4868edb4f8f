"""Locating, reading and dividing the raw files (parquet or CSV)."""
