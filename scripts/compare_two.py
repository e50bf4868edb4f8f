"""Compare two models of one size: which is better, and whether that is chance."""

from entry import run_script
from feseq.report.comparison import write_two_models

if __name__ == "__main__":
    run_script(write_two_models)
