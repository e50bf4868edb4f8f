"""Mix the validation predictions of the models that submit together.

By hand: python scripts/ensemble.py --size toy
"""

from pathlib import Path

from door import enter
from feseq.evaluate.ensemble import mix_predictions


def main(
    *, predictions: list[Path], weights: dict[str, float], mixed: Path, training: Path
) -> None:
    mix_predictions(predictions, weights, mixed, training)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
