"""The model kinds, and the config: its keys, its validation, the settings of each model."""
