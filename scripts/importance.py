"""Measure what a model's AUC rests on: each column, and the history."""

from entry import run_script
from tossctr.evaluate.permutation import measure_importance

if __name__ == "__main__":
    run_script(measure_importance)
