"""Export one trained network to ONNX, checked against the network itself.

By hand: python scripts/export.py --size toy --model len100
Without rules:
    python scripts/export.py --model model.safetensors --valid valid/part*.h5 --onnx model.onnx
"""

from entry import run_script
from feseq.serve.export import export_model

if __name__ == "__main__":
    run_script(export_model)
