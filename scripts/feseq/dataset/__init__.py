"""From raw parquet to H5 and on to batches: sampling, conversion, feature map, encoding."""
