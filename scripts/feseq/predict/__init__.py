"""A trained model's file, its predictions, and the submission made of them."""
