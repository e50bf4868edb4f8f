"""A folder a family of models, all of one shape: `family.py` says what rules ask of it."""
