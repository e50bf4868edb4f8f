"""Networks in ONNX: scores of rows as dictionaries, without PyTorch."""
