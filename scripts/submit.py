"""Join the predictions of all parts to the submission CSV.

By hand: python scripts/submit.py --size toy
"""

from pathlib import Path

from door import enter
from feseq.common.files import read_json
from feseq.config.names import is_boosting, name_of, share_of
from feseq.describe.alarms import read_alarms, warn_of
from feseq.predict.outcome import log_outcome
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
    code_of_predict: list[str] | None = None,
    code_of_predict_boosting: list[str] | None = None,
    prior: str,
    sample_submission: str | None = None,
    submission: Path,
    about: Path | None = None,
    size: str = "",
    id_column: str,
    label_column: str,
) -> None:
    shares = read_json(fitted) if fitted else weights or {}
    codes = {False: code_of_predict, True: code_of_predict_boosting}
    write_submission(
        predictions,
        sample_submission,
        submission,
        id_column=id_column,
        label_column=label_column,
        listing=read_parts(parts),
        models=models,
        weights=[share_of(shares, model) for model in models],
        codes=[codes[is_boosting(name_of(model))] for model in models],
        prior=prior,
        size=size,
        about=about,
    )
    if facts is not None:
        warn_of(read_alarms(facts), facts.with_suffix(".md"))
    log_outcome(models, size)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
