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
from ..common.parquet import metadata_of, read_table
from ..config.names import check_name, name_of
from ..raw.location import Location
from ..raw.parts import Listing
from ..raw.source import label_name
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
    by_model = _by_model(predictions, models)
    metadata = [[metadata_of(read_table(path, ())) for path in paths] for paths in by_model]
    for number, (paths, found) in enumerate(zip(by_model, metadata)):
        if listing:
            _check_parts(paths, found, listing)
        if models:
            code = codes[number] if codes else None
            _check_model(paths, found, metadata[0], models[number], code, size)
    firsts = [of_model[0] for of_model in metadata]
    made_from = _made_from(firsts, listing) | {"weights": list(weights), "prior": prior}
    made_from["sample_submission"] = sample_submission and str(sample_submission)
    shift = prior_shift(prior, (float(first.get("click_rate", "nan")) for first in firsts))
    if sample_submission is not None:
        label_column = label_name(Location(sample_submission), id_column, label_column)
    with id_tables(submission) as tables:
        for means in _means(by_model, weights):
            tables.add("predicted", means)
        _check_finite(tables)
        check_unique(tables, "predicted", "the predictions")
        if sample_submission is not None:
            add_sample(tables, sample_submission, id_column)
            check_same(tables, "predicted", sample_submission)
        made_from["rows"] = tables.rows("predicted")
        order = "predicted" if sample_submission is None else "sample"
        mean = _write_csv(submission, (id_column, label_column), tables, order, shift)
        if about is not None:
            write_json(about, made_from)
    logger.info(
        "%s: %s rows of %s by %s, from %s data; IDs in the order of %s, mean probability %.5f, %s",
        submission,
        f"{made_from['rows']:,}",
        made_from["test_file"],
        " + ".join(made_from["models"]),
        "SIMULATED" if made_from["simulated_data"] else "real",
        sample_submission or "the test file",
        mean,
        "at the data's click rate (submission.prior: observed)"
        if prior == "observed"
        else "shifted to 50:50 odds (submission.prior: balanced)",
    )


def _by_model(predictions: Sequence[Path], models: Sequence[Path]) -> list[Sequence[Path]]:
    """The parts' predictions of each model."""
    if models and (not predictions or len(predictions) % len(models)):
        raise UserError(
            f"{len(predictions)} files of predictions for {len(models)} models; give as many "
            f"parts for each model, model by model"
        )
    parts = len(predictions) // max(1, len(models))
    return [predictions[i : i + parts] for i in range(0, len(predictions), parts)]


def _made_from(firsts: Sequence[Mapping[str, str]], listing: Listing | None) -> dict[str, Any]:
    """The origin of the predictions, by the metadata of each model's first part."""
    return {
        "simulated_data": json.loads(firsts[0].get("simulated", "null")),
        "test_file": listing.table if listing else firsts[0].get("test_file", "?"),
        "models": [first.get("full_name") or "?" for first in firsts],
    }


def _check_parts(
    paths: Sequence[Path], metadata: Sequence[Mapping[str, str]], listing: Listing
) -> None:
    """Raise UserError unless these are predictions of all listed parts, in order."""
    if len(paths) != len(listing.parts):
        raise UserError(
            f"{len(paths)} of the {len(listing.parts)} parts of {listing.table} are predicted; "
            f"give the predictions of all, in their order"
        )
    for path, found, part in zip(paths, metadata, listing.parts):
        if found.get("part") != part.version:
            wrong = "not predicted for this part of the test table as it is now"
            raise _not_as_needed(path, wrong, f"it and data/h5/test/{path.stem}.h5")


def _check_model(
    paths: Sequence[Path],
    metadata: Sequence[Mapping[str, str]],
    first_model: Sequence[Mapping[str, str]],
    model: Path,
    code: Sequence[str] | None,
    size: str,
) -> None:
    """Raise UserError unless these are by `model` and `code`, of the first model's test table.

    A killed Snakemake may not have recorded which code made a file.
    """
    model_now = fingerprint(model)
    wanted = f"{size}/{name_of(model)}" if size else ""
    for path, found, first in zip(paths, metadata, first_model):
        check_name(path, found.get("full_name", ""), wanted)
        if found.get("model") != model_now:
            raise _not_as_needed(path, f"not predicted by {model} as it is now")
        if code is not None and found.get("code") != " ".join(code):
            raise _not_as_needed(path, "not predicted by the code as it is now")
        if found.get("test") != first.get("test"):
            raise _not_as_needed(path, "predicted for another test table than the first model's")


def _not_as_needed(path: Path, wrong: str, old: str = "it") -> UserError:
    return UserError(
        f"{path}: {wrong}; delete {old} and run the same command again, the part is predicted again"
    )


def prior_shift(prior: str, click_rates: Iterable[float]) -> np.float32:
    """What `submission.prior` subtracts from the logits of models with these click rates.

    Raises UserError if the models were trained on rows of different click rates.
    """
    if prior == "observed":
        return np.float32(0)
    rates = set(click_rates)
    if len(rates) > 1:
        raise UserError(
            f"the models were trained on rows of different click rates ({sorted(rates)}); a blend "
            f"takes models of one size, trained on the same rows"
        )
    return np.float32(log_odds(rates.pop()))


def _means(parts: Sequence[Sequence[Path]], weights: Sequence[float]) -> Iterator[pa.Table]:
    """The IDs and the mean logits of all models, part by part."""
    for paths in zip(*parts, strict=True):
        tables = [read_table(path, ("id", "logit")) for path in paths]
        for path, table in zip(paths, tables):
            if not table["id"].equals(tables[0]["id"]):
                raise _not_as_needed(path, f"its IDs are not those of {paths[0]}")
        mean = mean_logit([table["logit"].to_numpy() for table in tables], weights)
        yield pa.table([tables[0]["id"], mean], ID.append(_LOGIT))


def _check_finite(tables: IdTables) -> None:
    wrong, example, logit = tables.ask(
        "SELECT count(*), arg_min(id, row), arg_min(logit, row) FROM predicted "
        "WHERE NOT isfinite(logit)"
    )
    if wrong:
        raise diverged(wrong, logit, example)


def diverged(count: int, logit: float, example: str) -> UserError:
    """The error for `count` logits that are not finite, one of them for the ID `example`."""
    return UserError(
        f"{count:,} predictions are not finite, for example {logit} for ID {example!r}; the model "
        f"has diverged: lower train.learning_rate and train again"
    )


def _write_csv(
    submission: Path, header: tuple[str, str], tables: IdTables, order: str, shift: np.float32
) -> float:
    """Write the probabilities in the rows' order of a table; returns their mean."""
    # IDs get quotes only if one has CSV's own characters; sample_submission.csv has none.
    (special,) = tables.ask(
        r"""SELECT count(*) FROM predicted WHERE regexp_matches(id, '[",\r\n]')"""
    )
    options = pacsv.WriteOptions(
        include_header=False, quoting_style="needed" if special else "none"
    )
    ids = "predicted" if order == "predicted" else f"{order} JOIN predicted USING (id)"
    total = 0.0
    with written_beside(submission) as temporary, open(temporary, "wb") as file:
        head = io.StringIO()
        csv.writer(head, lineterminator="\n").writerow(header)
        file.write(head.getvalue().encode())
        for batch in tables.stream(f"SELECT id, logit FROM {ids} ORDER BY {order}.row"):
            probability = sigmoid(batch["logit"].to_numpy() - shift).astype(np.float32)
            pacsv.write_csv(pa.table([batch["id"], probability], [*header]), file, options)
            total += probability.sum(dtype=np.float64)
    return total / max(1, tables.rows("predicted"))
