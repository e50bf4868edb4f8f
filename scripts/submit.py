"""Join the predictions of all parts into the submission CSV."""

from entry import run_script
from tossctr.predict.submission import write_submission

if __name__ == "__main__":
    run_script(write_submission)
