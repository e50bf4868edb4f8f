"""List the parts of the test table, which are converted and predicted separately."""

from entry import run_script
from tossctr.raw.submission_ids import list_parts

if __name__ == "__main__":
    run_script(list_parts)
