"""The search for better settings: many trainings, kept in one Optuna study."""
