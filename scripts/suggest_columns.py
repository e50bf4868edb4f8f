"""Write a table file with column roles guessed from sample rows, and print the next command.

--train and --test take one or more files or folders; without a test file, omit --test:
    python scripts/suggest_columns.py --train log.parquet --test new.parquet --output mine.yaml
"""

import shlex
from pathlib import Path

from entry import run_script
from tossctr.common.files import Output
from tossctr.describe.suggest import suggest_columns


def main(train: list[str], output: Output, *, test: list[str] | None = None) -> None:
    """Write the table file `output`; `train` and `test` are the files or folders of each table."""
    reasons = suggest_columns(train, output, test=test)
    command = ["snakemake", "--cores", "4", "results/full/data.md", "--config", f"table={output}"]
    if not Path("Snakefile").exists():
        command[1:1] = ["--snakefile", str(Path(__file__).parents[1] / "Snakefile")]
    print(f"{reasons}Wrote {output}; check it. Then describe the data:\n    {shlex.join(command)}")


if __name__ == "__main__":
    run_script(main)
