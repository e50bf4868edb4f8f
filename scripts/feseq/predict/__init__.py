"""Networks that predict, predictions, and the submission."""
