"""Convert the selected rows of one part of the train table to a train and a valid file."""

from entry import run_script
from feseq.storage.conversion import convert_train

if __name__ == "__main__":
    run_script(convert_train)
