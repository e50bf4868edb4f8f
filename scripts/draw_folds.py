"""Part the train rows of one size into folds.

By hand: python scripts/draw_folds.py --size toy
"""

from pathlib import Path

from door import enter
from feseq.config.sampling import Sampling
from feseq.dataset.draw_folds import draw_folds
from feseq.dataset.selection import Selection
from feseq.raw.parts import read_parts
from feseq.raw.reading import open_parquet


def main(
    *, raw: list[str], label: str, selection: Path, parts: Path, sampling: Sampling, folds: Path
) -> None:
    listing = read_parts(parts)
    chosen = [Selection.read(selection, i, part.draw) for i, part in enumerate(listing.parts)]
    draw_folds(open_parquet(raw), label, sampling, chosen, listing).write(folds)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
