"""Compare the IDs of the sample submission with the test file's, before anything is trained."""

from entry import run_script
from feseq.predict.sample import check_sample

if __name__ == "__main__":
    run_script(check_sample)
