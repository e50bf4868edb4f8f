"""Blend the validation predictions of the models that submit together.

By hand: python scripts/blend.py --size toy
"""

from pathlib import Path

from entry import run_script
from feseq.evaluate.blend import blend_predictions


def main(
    *,
    predictions: list[Path],
    given: dict[str, float] | None,
    by: str,
    prior: str,
    blend: Path,
    weights: Path,
    training: Path,
) -> None:
    blend_predictions(predictions, given, blend, weights, training, by=by, prior=prior)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
