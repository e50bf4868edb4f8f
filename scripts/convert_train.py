"""Convert the drawn rows of one part of the train table to an H5 file for each split."""

from entry import run_script
from tossctr.datasets.conversion import convert_train

if __name__ == "__main__":
    run_script(convert_train)
