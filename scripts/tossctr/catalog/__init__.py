"""The kinds of models, and the whole config: its keys, its check, the settings of each model."""
