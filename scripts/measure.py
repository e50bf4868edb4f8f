"""Compute the metrics of a model's validation predictions."""

from entry import run_script
from tossctr.evaluate.measurement import write_metrics

if __name__ == "__main__":
    run_script(write_metrics)
