"""Compare baselines and trained models in one table."""

from entry import run_script
from tossctr.report.summary import write_comparison

if __name__ == "__main__":
    run_script(write_comparison)
