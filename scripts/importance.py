"""Measure the permutation importance of a model's columns and of its history."""

from entry import run_script
from tossctr.evaluate.permutation import measure_importance

if __name__ == "__main__":
    run_script(measure_importance)
