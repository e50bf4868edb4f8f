"""The trained model's file, predictions, and the submission."""
