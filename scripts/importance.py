"""Measure what a model's AUC rests on: each column, and the history.

By hand: python scripts/importance.py --size toy --model len100
"""

from entry import run_script
from feseq.evaluate.importance import measure_importance

if __name__ == "__main__":
    run_script(measure_importance)
