"""Draw the rows of one size, split them into train and validation, and list the table's parts."""

from entry import run_script
from tossctr.datasets.draw import sample

if __name__ == "__main__":
    run_script(sample)
