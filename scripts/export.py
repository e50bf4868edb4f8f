"""Export one trained network to ONNX, checked against the network itself.

By hand: python scripts/export.py --size toy --model len100
Without rules:
    python scripts/export.py --model model.safetensors --valid valid/part*.h5 --onnx model.onnx
"""

from pathlib import Path

from entry import run_script
from feseq.common.files import Output
from feseq.serve.export import export_model


def main(
    *,
    model: Path,
    valid: list[Path],
    onnx: Output,
    full_name: str = "",
) -> None:
    export_model(model, valid, onnx, full_name=full_name)


if __name__ == "__main__":
    run_script(main)
