"""The submission CSV: predictions checked, and joined by ID, never by position."""

import csv
import io
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from ..common.errors import UserError
from ..common.files import fingerprint, write_json, written_beside
from ..common.ids import IdTables, id_tables
from ..common.logits import log_odds, mean_logit, sigmoid
from ..common.parquet import marks_of, read_table
from ..config.names import check_name, name_of
from ..raw.location import Location
from ..raw.parts import Listing
from ..raw.sample_submission import label_name
from .submission_ids import ID, add_sample, check_same, check_unique

logger = logging.getLogger(__name__)

_LOGIT = pa.field("logit", pa.float32())


def write_submission(
    predictions: Sequence[Path],
    sample_submission: str | Path | None,
    submission: Path,
    *,
    id_column: str,
    label_column: str,
    listing: Listing | None = None,
    models: Sequence[Path] = (),
    weights: Sequence[float] = (1.0,),
    codes: Sequence[Sequence[str] | None] = (),
    prior: str = "observed",
    size: str = "",
    about: Path | None = None,
) -> None:
    """Write `id_column,label_column`, one row per ID, probabilities in [0, 1].

    `predictions` are of all parts, model by model; the logits of several models are averaged by
    `weights`. The prior 'balanced' shifts the logits to 50:50 odds. IDs, their order and the name
    of the label are those of `sample_submission` if given, else IDs those of the predictions.

    Raises UserError, and writes nothing, if an ID is missing, extra or duplicate on either side or
    a logit is not finite. With `models`, the predictions must be of one test table by each of
    these, and these of `size` if it is given; with a `listing`, of all parts in it; with `codes`,
    digests of each model's, by this code.

    `about` (JSON) says what the submission was made from: `simulated_data`, `test_file`, `rows`,
    `sample_submission`, `prior`, and the `models` with their `weights`.
    """
    parts = _by_model(predictions, models)
    marks = _checked_marks(parts, listing, models, codes, size)
    rates = (float(mark.get("click_rate", "nan")) for mark in marks)
    shift = log_odds(one_rate(rates)) if prior == "balanced" else 0.0
    if sample_submission is not None:
        label_column = label_name(Location(sample_submission), id_column, label_column)
    with id_tables(submission) as tables:
        for means in _means(parts, weights):
            tables.add("predicted", means)
        _check_logits(tables)
        check_unique(tables, "predicted", "the predictions")
        if sample_submission is not None:
            add_sample(tables, sample_submission, id_column)
            check_same(tables, "predicted", sample_submission)
        rows = tables.rows("predicted")
        origin = _origin(marks, listing)
        order = "predicted" if sample_submission is None else "sample"
        mean = _write_csv(submission, (id_column, label_column), tables, order, shift)
        if about is not None:
            given = {"sample_submission": sample_submission and str(sample_submission)}
            chosen = {"weights": list(weights), "prior": prior, "rows": rows}
            write_json(about, {**origin, **given, **chosen})
    logger.info(
        "%s: %s rows of %s by %s, from %s data; IDs in the order of %s, mean probability %.5f, %s",
        submission,
        f"{rows:,}",
        origin["test_file"],
        " + ".join(origin["models"]),
        "SIMULATED" if origin["simulated_data"] else "real",
        sample_submission or "the test file",
        mean,
        "at the data's click rate (submission.prior: observed)"
        if prior == "observed"
        else "shifted to 50:50 odds (submission.prior: balanced)",
    )


def _origin(marks: Sequence[Mapping[str, str]], listing: Listing | None) -> dict[str, Any]:
    """Where the models' predictions come from."""
    return {
        "simulated_data": json.loads(marks[0].get("simulated", "null")),
        "test_file": listing.table if listing else marks[0].get("test_file", "?"),
        "models": [mark.get("full_name") or "?" for mark in marks],
    }


def _write_csv(
    submission: Path, header: tuple[str, str], tables: IdTables, order: str, shift: float
) -> float:
    """Write the probabilities in the rows' order of a table; returns their mean."""
    total = 0.0
    quoting = _quoting(tables)
    ids = "predicted" if order == "predicted" else f"{order} JOIN predicted USING (id)"
    with written_beside(submission) as temporary, open(temporary, "wb") as file:
        file.write(_csv_line(*header))
        for batch in tables.stream(f"SELECT id, logit FROM {ids} ORDER BY {order}.row"):
            probability = sigmoid(batch["logit"].to_numpy() - np.float32(shift)).astype(np.float32)
            table = pa.table([batch["id"], pa.array(probability)], names=[*header])
            options = pacsv.WriteOptions(include_header=False, quoting_style=quoting)
            pacsv.write_csv(table, file, options)
            total += probability.sum(dtype=np.float64)
    return total / max(1, tables.rows("predicted"))


def _by_model(predictions: Sequence[Path], models: Sequence[Path]) -> list[Sequence[Path]]:
    """The parts' predictions of each model."""
    if models and (not predictions or len(predictions) % len(models)):
        raise UserError(
            f"{len(predictions)} files of predictions for {len(models)} models; give as many "
            f"parts for each model, model by model"
        )
    parts = len(predictions) // max(1, len(models))
    return [predictions[i : i + parts] for i in range(0, len(predictions), parts)]


def _checked_marks(
    parts: Sequence[Sequence[Path]],
    listing: Listing | None,
    models: Sequence[Path],
    codes: Sequence[Sequence[str] | None],
    size: str,
) -> list[dict[str, str]]:
    """The marks of each model's first part."""
    marks = [[marks_of(read_table(path, ())) for path in paths] for paths in parts]
    if listing and len(marks[0]) != len(listing.parts):
        raise UserError(
            f"{len(marks[0])} of the {len(listing.parts)} parts of {listing.table} are predicted; "
            f"give the predictions of all, in their order"
        )
    listed = [part.version for part in listing.parts] if listing else [None] * len(marks[0])
    tests = [(version, mark.get("test")) for version, mark in zip(listed, marks[0])]
    for number, model in enumerate(models):
        code = codes[number] if codes else None
        _check_parts(parts[number], marks[number], model, tests, code, size)
    return [of_model[0] for of_model in marks]


def _means(parts: Sequence[Sequence[Path]], weights: Sequence[float]) -> Iterator[pa.Table]:
    """The IDs and the mean logits of all models, part by part."""
    for paths in zip(*parts, strict=True):
        tables = [read_table(path, ("id", "logit")) for path in paths]
        for path, table in zip(paths, tables):
            if not table["id"].equals(tables[0]["id"]):
                raise _not_as_needed(path, f"its IDs are not those of {paths[0]}")
        mean = mean_logit([table["logit"].to_numpy() for table in tables], weights)
        yield pa.table([tables[0]["id"], mean], ID.append(_LOGIT))


def _check_parts(
    paths: Sequence[Path],
    marks: Sequence[Mapping[str, str]],
    model: Path,
    tests: Sequence[tuple[str | None, str | None]],
    code: Sequence[str] | None,
    size: str,
) -> None:
    """Raise UserError unless these are of the listed parts in order, by `model` and `code`.

    `tests` are each part's version, None for any, and the identity of its H5 file. A killed
    Snakemake may not have recorded which code made a file.
    """
    model_now = fingerprint(model)
    wanted = f"{size}/{name_of(model)}" if size else ""
    for path, mark, (version, test) in zip(paths, marks, tests):
        check_name(path, mark.get("full_name", ""), wanted)
        if mark.get("model") != model_now:
            raise _not_as_needed(path, f"not predicted by {model} as it is now")
        if code is not None and mark.get("code") != " ".join(code):
            raise _not_as_needed(path, "not predicted by the code as it is now")
        if version not in (None, mark.get("part")):
            h5 = f"data/h5/test/{path.stem}.h5"
            wrong = "not predicted for this part of the test table as it is now"
            raise _not_as_needed(path, wrong, f"it and {h5}")
        if mark.get("test") != test:
            raise _not_as_needed(path, "predicted for another test table than the first model's")


def _not_as_needed(path: Path, wrong: str, old: str = "it") -> UserError:
    return UserError(
        f"{path}: {wrong}; delete {old} and run the same command again, the part is predicted again"
    )


def one_rate(rates: Iterable[float]) -> float:
    """The click rate of the train rows, which all models must share."""
    found = set(rates)
    if len(found) > 1:
        raise UserError(
            f"the models were trained on rows of different click rates ({sorted(found)}); an "
            f"ensemble takes models of one size, trained on the same rows"
        )
    return found.pop()


def _check_logits(tables: IdTables) -> None:
    wrong, example, logit = tables.ask(
        "SELECT count(*), arg_min(id, row), arg_min(logit, row) FROM predicted "
        "WHERE NOT isfinite(logit)"
    )
    if wrong:
        raise diverged(wrong, logit, example)


def diverged(count: int, logit: float, example: str) -> UserError:
    """What to say of `count` logits that are not finite, one of them for the ID `example`."""
    return UserError(
        f"{count:,} predictions are not finite, for example {logit} for ID {example!r}; the model "
        f"has diverged: lower train.learning_rate and train again"
    )


def _csv_line(*values: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()


def _quoting(tables: IdTables) -> str:
    """IDs get quotes only if one has CSV's own characters; sample_submission.csv has none."""
    (special,) = tables.ask(
        r"""SELECT count(*) FROM predicted WHERE regexp_matches(id, '[",\r\n]')"""
    )
    return "needed" if special else "none"
