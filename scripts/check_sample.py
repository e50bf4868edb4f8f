"""Compare the IDs of the sample submission with those of the test file, before anything is trained.

By hand: python scripts/check_sample.py
"""

from entry import run_script
from feseq.predict.sample import check_sample

if __name__ == "__main__":
    run_script(check_sample)
