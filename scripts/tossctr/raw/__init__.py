"""The raw files, parquet or CSV: where they are, and how they are read."""
