"""The raw parquet files: where they are, how they are read, and the simulated stand-in."""
