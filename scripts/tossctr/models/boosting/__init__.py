"""Gradient boosting, the other family of models: rows as features, training, the model's file."""
