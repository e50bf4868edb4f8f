"""The raw parquet files: where they lie, how they are read, and the simulated stand-in."""
