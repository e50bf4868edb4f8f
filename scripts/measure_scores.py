"""Compute the metrics of the scores of a labelled file."""

from entry import run_script
from tossctr.evaluate.measurement import measure_scores

if __name__ == "__main__":
    run_script(measure_scores)
