"""The raw files, parquet, CSV or Arrow: where they are, and how they are read."""
