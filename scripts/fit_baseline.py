"""Fit one baseline and predict the validation rows with it.

By hand: python scripts/fit_baseline.py --size toy --baseline constant
"""

from entry import run_script
from feseq.evaluate.baselines import fit_baseline

if __name__ == "__main__":
    run_script(fit_baseline)
