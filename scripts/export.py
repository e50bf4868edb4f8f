"""Export one trained network to ONNX, checked against the network itself."""

from entry import run_script
from feseq.serve.export import export_model

if __name__ == "__main__":
    run_script(export_model)
