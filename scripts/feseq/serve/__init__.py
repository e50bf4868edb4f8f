"""Trained networks in ONNX: their export, and scores of rows as dictionaries without PyTorch."""
