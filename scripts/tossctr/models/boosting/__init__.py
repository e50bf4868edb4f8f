"""Gradient boosting, the other kind of model: rows as features, training, the model's file."""
