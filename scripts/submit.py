"""Join the predictions of all parts to the submission CSV.

By hand: python scripts/submit.py --size toy
"""

from pathlib import Path

from entry import run_script
from feseq.common.files import read_json
from feseq.config.names import name_of, share_of
from feseq.describe.alarms import read_alarms, warn_of
from feseq.predict.submission import write_submission
from feseq.raw.parts import read_parts


def main(
    *,
    predictions: list[Path],
    parts: Path,
    models: list[Path],
    facts: Path | None = None,
    weights: dict[str, float] | None,
    fitted: Path | None = None,
    codes: dict[str, list[str]] | None = None,
    prior: str,
    sample_submission: str | None = None,
    submission: Path,
    about: Path | None = None,
    size: str = "",
    id_column: str,
    label_column: str,
) -> None:
    shares = read_json(fitted) if fitted else weights or {}
    write_submission(
        predictions,
        sample_submission,
        submission,
        id_column=id_column,
        label_column=label_column,
        listing=read_parts(parts),
        models=models,
        weights=[share_of(shares, model) for model in models],
        codes=[(codes or {}).get(name_of(model)) for model in models],
        prior=prior,
        size=size,
        about=about,
    )
    if facts is not None:
        warn_of(read_alarms(facts), facts.with_suffix(".md"))


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
