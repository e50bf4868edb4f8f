"""Which models there are, and the whole config: keys, check, the settings of each model."""
