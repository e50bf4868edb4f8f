"""Print a first config for a table, with its columns' roles guessed from some rows.

python scripts/suggest_columns.py in/train.parquet --test in/test.parquet > mine.yaml
"""

import argparse
import sys

from feseq.common.errors import UserError
from feseq.dataset.suggest import suggest_columns

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", help="the train file, or a folder of files")
    parser.add_argument("--test", help="the test file, or a folder of files; none: raw.test: null")
    try:
        print(suggest_columns(**vars(parser.parse_args())), end="")
    except UserError as error:
        sys.exit(str(error))
