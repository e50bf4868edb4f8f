"""The submission CSV: predictions checked, and joined by ID, never by position."""

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..common.errors import UserError
from ..common.files import fingerprint, write_json, written_beside
from ..common.logits import log_odds, mean_logit, sigmoid
from ..common.parquet import marks_of, read_table
from ..config.names import check_name, name_of
from ..raw.sample_submission import label_name
from .submission_ids import check_ids, check_unique, read_sample_ids

logger = logging.getLogger(__name__)


def write_submission(
    predictions: Sequence[Path],
    sample_submission: str | Path | None,
    submission: Path,
    *,
    id_column: str,
    label_column: str,
    models: Sequence[Path] = (),
    weights: Sequence[float] = (1.0,),
    codes: Sequence[Sequence[str] | None] = (),
    prior: str = "observed",
    size: str = "",
    about: Path | None = None,
) -> None:
    """Write `id_column,label_column`, one row per ID, probabilities in [0, 1].

    `predictions` are all shards, model by model; the logits of several models are averaged by
    `weights`. The prior 'balanced' shifts the logits to 50:50 odds. IDs, their order and the name
    of the label are those of `sample_submission` if given, else IDs those of the predictions.

    Raises UserError, and writes nothing, if an ID is missing, extra or duplicate on either side or
    a logit is not finite. With `models`, the predictions must be all shards of one test file by
    each of these, and these of `size` if it is given; with `codes`, digests of each model's, by
    this code.

    `about` (JSON) says what the submission was made from: `simulated_data`, `test_file`, `rows`,
    `sample_submission`, `prior`, and the `models` with their `weights`.
    """
    ids, logits, marks = _read_by_model(predictions, models, codes, size)
    for logit in logits:
        _check_logits(logit, ids)
    check_unique(ids, "the predictions")
    logit = mean_logit(logits, weights)
    if prior == "balanced":
        logit = logit - np.float32(log_odds(_one_rate(marks)))
    probability: pa.ChunkedArray | pa.Array = pa.array(sigmoid(logit).astype(np.float32))
    if sample_submission is not None:
        label_column = label_name(sample_submission, id_column, label_column)
        wanted = read_sample_ids(sample_submission, id_column)
        probability = probability.take(check_ids(wanted, ids, sample_submission))
        ids = wanted
    origin = _origin(marks)
    if about is not None:
        given = {"sample_submission": sample_submission and str(sample_submission)}
        chosen = {"weights": list(weights), "prior": prior, "rows": len(ids)}
        write_json(about, {**origin, **given, **chosen})
    _write_csv(submission, pa.table({id_column: ids, label_column: probability}))
    logger.info(
        "%s: %s rows of %s by %s, from %s data; IDs in the order of %s, mean probability %.5f, %s",
        submission,
        f"{len(ids):,}",
        origin["test_file"],
        " + ".join(origin["models"]),
        "SIMULATED" if origin["simulated_data"] else "real",
        sample_submission or "the test file",
        pc.mean(probability).as_py(),
        "at the data's click rate (submission.prior: observed)"
        if prior == "observed"
        else "shifted to 50:50 odds (submission.prior: balanced)",
    )


def _origin(marks: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What the models' predictions say of where they come from."""
    return {
        "simulated_data": json.loads(marks[0].get("simulated", "null")),
        "test_file": marks[0].get("test_file", "?"),
        "models": [mark.get("full_name") or "?" for mark in marks],
    }


def _write_csv(submission: Path, rows: pa.Table) -> None:
    # pyarrow writes garbage for a first batch without rows (apache/arrow#36889).
    batches = [batch for batch in rows.to_batches() if len(batch)]
    with written_beside(submission) as temporary, open(temporary, "wb") as file:
        file.write(_csv_line(*rows.column_names))
        pacsv.write_csv(
            pa.Table.from_batches(batches, rows.schema),
            file,
            pacsv.WriteOptions(include_header=False, quoting_style=_quoting(rows[0])),
        )


def _read_by_model(
    predictions: Sequence[Path],
    models: Sequence[Path],
    codes: Sequence[Sequence[str] | None],
    size: str,
) -> tuple[pa.ChunkedArray, list[np.ndarray], list[dict[str, str]]]:
    """The IDs, each model's logits for them, and the marks of each model's first shard."""
    if models and (not predictions or len(predictions) % len(models)):
        raise UserError(
            f"{len(predictions)} files of predictions for {len(models)} models; give as many "
            f"shards for each model, model by model"
        )
    shards = max(1, len(predictions) // max(1, len(models)))
    ids, logits, firsts, test = None, [], [], None
    for start in range(0, len(predictions), shards) if models else [0]:
        paths = predictions[start : start + shards] if models else predictions
        read = [read_table(path, ("id", "logit")) for path in paths]
        marks = [marks_of(table) for table in read]
        test = test or marks[0].get("test")
        if models:
            number = start // shards
            code = codes[number] if codes else None
            _check_shards(paths, marks, models[number], test, code, size)
        table = pa.concat_tables(read)
        # One copy of the IDs serves all models.
        ids = table["id"] if ids is None else ids
        if not table["id"].equals(ids):
            raise _not_as_needed(paths[0], f"its IDs are not those of {predictions[0]}")
        logits.append(table["logit"].to_numpy())
        firsts.append(marks[0])
    return ids, logits, firsts


def _check_shards(
    paths: Sequence[Path],
    marks: Sequence[Mapping[str, str]],
    model: Path,
    test: str | None,
    code: Sequence[str] | None,
    size: str,
) -> None:
    """Raise UserError unless these are all rows of one test file in order, by `model` and `code`.

    A killed Snakemake may not have recorded which code made a file.
    """
    model_now, stop = fingerprint(model), "0"
    wanted = f"{size}/{name_of(model)}" if size else ""
    for path, mark in zip(paths, marks):
        check_name(path, mark.get("full_name", ""), wanted)
        if mark.get("model") != model_now:
            raise _not_as_needed(path, f"not predicted by {model} as it is now")
        if code is not None and mark.get("code") != " ".join(code):
            raise _not_as_needed(path, "not predicted by the code as it is now")
        if mark.get("test") != test:
            raise _not_as_needed(path, f"predicted for another test file than {paths[0]}")
        if mark.get("start") != stop:
            wrong = f"begins with row {mark.get('start')}, where row {stop} should follow"
            raise _not_as_needed(path, wrong)
        stop = mark.get("stop", "?")
    rows = marks[-1].get("rows")
    if stop != rows:
        raise UserError(
            f"{paths[-1]}: the last predicted row is {stop} of {rows}; give all shards, or delete "
            f"it and run the same command again"
        )


def _not_as_needed(path: Path, wrong: str) -> UserError:
    return UserError(
        f"{path}: {wrong}; delete it and run the same command again, it is predicted again"
    )


def _one_rate(marks: Sequence[Mapping[str, str]]) -> float:
    """The click rate of the train rows, which all models must share."""
    rates = {float(mark.get("click_rate", "nan")) for mark in marks}
    if len(rates) > 1:
        raise UserError(
            f"the models were trained on rows of different click rates ({sorted(rates)}); an "
            f"ensemble takes models of one size, trained on the same rows"
        )
    return rates.pop()


def _check_logits(logit: np.ndarray, ids: pa.ChunkedArray) -> None:
    wrong = np.flatnonzero(~np.isfinite(logit))
    if len(wrong):
        raise UserError(
            f"{len(wrong):,} predictions are not finite, for example {logit[wrong[0]]} for ID "
            f"{ids[int(wrong[0])].as_py()!r}; the model has diverged: lower train.learning_rate "
            f"and train again"
        )


def _csv_line(*values: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()


def _quoting(ids: pa.ChunkedArray) -> str:
    """IDs get quotes only if one has CSV's own characters; sample_submission.csv has none."""
    has_special = pc.any(pc.match_substring_regex(ids, '[",\r\n]')).as_py()
    return "needed" if has_special else "none"
