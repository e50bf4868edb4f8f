"""Fit one baseline and predict the validation rows with it."""

from entry import run_script
from tossctr.evaluate.baselines import fit_baseline

if __name__ == "__main__":
    run_script(fit_baseline)
