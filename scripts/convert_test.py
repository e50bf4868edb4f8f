"""Convert one part of the test table to H5."""

from entry import run_script
from tossctr.datasets.conversion import convert_test_part

if __name__ == "__main__":
    run_script(convert_test_part)
