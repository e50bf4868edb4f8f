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
from ..common.files import Output, fingerprint, read_json, write_json, written_beside
from ..common.ids import IdTables, id_tables
from ..common.logits import checked_weights, diverged, log_odds, mean_logit, sigmoid
from ..common.parquet import metadata_of, read_table
from ..config.names import check_name, name_of
from ..config.scores import Prior
from ..describe.alarms import read_alarms, warn_of
from ..raw.location import Location
from ..raw.parts import Part, read_parts
from ..raw.sample_submission import ID, add_sample, check_same
from ..raw.source import label_name

logger = logging.getLogger(__name__)

_LOGIT = pa.field("logit", pa.float32())


def write_submission(
    predictions: list[Path],
    parts: Path,
    models: list[Path],
    submission: Output,
    about: Output,
    *,
    id_column: str,
    label_column: str,
    size: str = "",
    prior: Prior = "observed",
    weights: Mapping[str, float] | None = None,
    codes: Mapping[str, str] | None = None,
    fitted: Path | None = None,
    basis: Path | None = None,
    sample_submission: str | Path | None = None,
    facts: Path | None = None,
) -> None:
    """Write the CSV, see `join_predictions`, and its sources (JSON).

    `predictions` are of all `parts` of the test table by each of the `models` of a size, model by
    model. The mean has the `weights` by the models' names, or those in the file `fitted`, and
    `basis` (JSON) says what these rest on. The prior 'balanced' shifts the logits to 50:50 odds.
    The alarms in `facts` go to the log. `codes` has the digests of the code that predicts, by the
    models' names; None accepts any code.

    Raises UserError, and writes nothing, if predictions are of other parts, models or code.
    """
    listing = read_parts(parts)
    count = len(listing.parts)
    by_model = [predictions[i : i + count] for i in range(0, len(predictions), count)]
    firsts = []
    for paths, model in zip(by_model, models, strict=True):
        name = name_of(model)
        code = codes.get(name) if codes else None
        firsts.append(_checked(paths, listing.parts, model, code, f"{size}/{name}" if size else ""))
    alarms = read_alarms(facts) if facts else []
    sources = {
        "simulated_data": json.loads(firsts[0]["simulated"]),
        "test_file": listing.table,
        "models": [first["full_name"] or "?" for first in firsts],
        "weights": checked_weights(weights, [name_of(model) for model in models], fitted),
        "weights_fitted_to": basis and _basis(basis),
        "prior": prior,
        "sample_submission": sample_submission and str(sample_submission),
    }
    sources["rows"], mean = join_predictions(
        by_model,
        sources["weights"],
        submission,
        id_column=id_column,
        label_column=label_column,
        sample_submission=sample_submission,
        shift=prior_shift(prior, (float(first["click_rate"]) for first in firsts)),
    )
    write_json(about, sources)
    _log_submission(submission, sources, mean, float(firsts[0]["click_rate"]))
    if facts is not None:
        warn_of(alarms, facts.with_suffix(".md"))


def _log_submission(path: Path, sources: Mapping[str, Any], mean: float, click_rate: float) -> None:
    """Say what a submission holds: rows, models with their weights, odds."""
    logger.info(
        "%s: %s rows of %s from %s data; IDs in the order of %s",
        path,
        f"{sources['rows']:,}",
        sources["test_file"],
        "SIMULATED" if sources["simulated_data"] else "real",
        sources["sample_submission"] or "the test file",
    )
    logger.info("by %s", _models_text(sources))
    logger.info(
        "at %s odds: mean probability %.5f; %.5f of the train rows are clicks",
        sources["prior"],
        mean,
        click_rate,
    )


def _basis(path: Path) -> dict[str, Any]:
    """What fitted weights rest on: a metric, rows, clicks; models that are significantly worse;
    how much weights differ between draws, None where all are equal.
    """
    keys = ("metric", "rows", "clicks", "worse", "spread")
    content = read_json(path, kind="training.json of a blend", keys=keys)
    return {key: content[key] for key in keys}


def _models_text(sources: Mapping[str, Any]) -> str:
    """The models of a submission with their weights, and what these rest on."""
    pairs = zip(sources["models"], sources["weights"])
    text = ", ".join(f"{name} {weight:.2g}" for name, weight in pairs)
    if not (basis := sources["weights_fitted_to"]):
        return f"{text}, weights as configured" if len(sources["models"]) > 1 else text
    counts = f"{basis['clicks']:,} clicks in {basis['rows']:,} validation rows"
    if basis["spread"] is None:
        return f"{text}, equal weights: {counts} are too few of one kind to fit any"
    return f"{text}, weights fitted to {counts}"


def _checked(
    paths: Sequence[Path],
    parts: Sequence[Part],
    model: Path,
    code: str | None,
    full_name: str,
) -> Mapping[str, str]:
    """The first file's metadata; raises UserError unless all are of these parts by this model.

    The `code` is checked too: a killed Snakemake may not have recorded the code of a file.
    """
    model_fingerprint = fingerprint(model)
    file_metadata = [metadata_of(read_table(path, ())) for path in paths]
    for path, metadata, part in zip(paths, file_metadata, parts, strict=True):
        check_name(path, metadata.get("full_name", ""), full_name)
        if metadata.get("model") != model_fingerprint:
            raise _not_as_needed(path, f"not predicted by {model} as it is now")
        if code is not None and metadata.get("code") != code:
            raise _not_as_needed(path, "not predicted by the code as it is now")
        if metadata.get("part") != part.version:
            wrong = "not predicted for this part of the test table as it is now"
            raise _not_as_needed(path, wrong, f"it and data/h5/test/{path.stem}.h5")
    return file_metadata[0]


def join_predictions(
    by_model: Sequence[Sequence[Path]],
    weights: Sequence[float],
    submission: Path,
    *,
    id_column: str,
    label_column: str,
    sample_submission: str | Path | None = None,
    shift: float | np.float32 = 0.0,
) -> tuple[int, float]:
    """Write `id_column,label_column`, one row per ID, probabilities in [0, 1].

    The logits of several models are averaged by `weights`, and lowered by `shift`. If given,
    `sample_submission` has the IDs, their order and the name of the label. If not, the predictions
    have the IDs. Returns the number of rows and the mean probability.

    Raises UserError, and writes nothing, if an ID is missing, extra or duplicate on either side or
    a logit is not finite.
    """
    if sample_submission is not None:
        label_column = label_name(Location(sample_submission), id_column, label_column)
    with id_tables(submission) as tables:
        for means in _means(by_model, weights):
            tables.add("predicted", means)
        wrong, example, logit = tables.ask(
            "SELECT count(*), arg_min(id, row), arg_min(logit, row) FROM predicted "
            "WHERE NOT isfinite(logit)"
        )
        if wrong:
            raise diverged(wrong, logit, f"ID {example!r}")
        tables.require_unique("predicted", "the predictions")
        if sample_submission is not None:
            add_sample(tables, sample_submission, id_column)
            check_same(tables, "predicted", sample_submission, "predicted")
        order = "predicted" if sample_submission is None else "sample"
        mean = _write_csv(submission, (id_column, label_column), tables, order, shift)
        return tables.rows("predicted"), mean


def _not_as_needed(path: Path, wrong: str, old: str = "it") -> UserError:
    return UserError(
        f"{path}: {wrong}; take such predictions or, where the workflow made it, delete {old} and "
        f"run the same command again to predict the part again"
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


def _means(by_model: Sequence[Sequence[Path]], weights: Sequence[float]) -> Iterator[pa.Table]:
    """The IDs and the mean logits of all models, part by part."""
    for paths in zip(*by_model, strict=True):
        tables = [read_table(path, ("id", "logit")) for path in paths]
        for path, table in zip(paths, tables):
            if not table["id"].equals(tables[0]["id"]):
                raise _not_as_needed(path, f"its IDs are not those of {paths[0]}")
        mean = mean_logit([table["logit"].to_numpy() for table in tables], weights)
        yield pa.table([tables[0]["id"], mean], ID.append(_LOGIT))


def _write_csv(
    submission: Path,
    header: tuple[str, str],
    tables: IdTables,
    order: str,
    shift: float | np.float32,
) -> float:
    """Write the probabilities in the row order of a table; returns their mean."""
    # IDs get quotes only if one has a character special to CSV; sample_submission.csv has none.
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
        csv.writer(head).writerow(header)  # its line end makes it quote names with CR or LF
        file.write(head.getvalue().removesuffix("\r\n").encode() + b"\n")
        for batch in tables.stream(f"SELECT id, logit FROM {ids} ORDER BY {order}.row"):
            probability = sigmoid(batch["logit"].to_numpy() - shift).astype(np.float32)
            pacsv.write_csv(pa.table([batch["id"], probability], [*header]), file, options)
            total += probability.sum(dtype=np.float64)
    return total / max(1, tables.rows("predicted"))
