"""Write a table file with column roles guessed from sample rows, and print the next command.

--train and --test take one or more files or folders; without a test file, omit --test:
    python scripts/suggest_columns.py --train log.parquet --test new.parquet --output mine.yaml
"""

from entry import run_script
from tossctr.describe.suggest import suggest_columns

if __name__ == "__main__":
    run_script(suggest_columns, print)
