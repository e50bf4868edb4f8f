"""Export one trained model to ONNX, and check that the ONNX model gives the same logits."""

from entry import run_script
from tossctr.catalog.loading import export_model

if __name__ == "__main__":
    run_script(export_model)
