"""Write the submission CSV: check predictions, and join them by ID, never by position."""

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from ..common.errors import UserError
from ..common.files import Output, atomic_write, fingerprint, write_json
from ..common.logits import checked_weights, mean_logit, prior_shift, sigmoid
from ..common.parquet import metadata_of, read_table
from ..config.names import Prior, model_of_file, require_made_for
from ..describe.alarms import log_alarms, read_alarms
from ..raw.location import Location
from ..raw.parts import Part, read_part_list
from ..raw.raw_files import prediction_column
from ..raw.submission_ids import add_ids, compare_sample_ids, id_database
from ..raw.values import ROW_COLUMN, row_ids

logger = logging.getLogger(__name__)

_BATCH_ROWS = 1 << 17


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
    sample_submission: str | Path | None = None,
    facts: Path | None = None,
) -> None:
    """Write the submission CSV, and a JSON file (`about`) of its models, weights and prior.

    predictions: a file for each part of the test table, grouped by model in the order of `models`
    parts: JSON file that lists the parts of the test table
    size: the models' size, such as full; '': not checked
    prior: click rate that the probabilities assume, 'observed' (that of the train rows) or
        'balanced' (one half)
    weights: by model name
    fitted: instead of `weights`, a JSON file with them; without both, the weights are equal
    codes: expected digest of the prediction code, by model name; None: not checked
    sample_submission: a file with the IDs that the submission must have, in order
    facts: data.json; its alarms about the data are logged

    Raises UserError, and writes nothing, if predictions are of other parts, models or code.
    """
    listed = read_part_list(parts).parts
    count = len(listed)
    by_model = [predictions[i : i + count] for i in range(0, len(predictions), count)]
    names, about_models = [model_of_file(model).rpartition("/")[2] for model in models], []
    for paths, model, name in zip(by_model, models, names, strict=True):
        code = codes.get(name) if codes else None
        full_name = f"{size}/{name}" if size else ""
        about_models.append(_checked_metadata(paths, listed, model, code, full_name))
    alarms = read_alarms(facts) if facts else []
    model_weights = checked_weights(weights, names, fitted)
    rows, mean = join_predictions(
        by_model,
        model_weights,
        submission,
        id_column=id_column,
        label_column=label_column,
        sample_submission=sample_submission,
        shift=prior_shift(prior, (float(each["click_rate"]) for each in about_models)),
    )
    sources = {
        "simulated_data": json.loads(about_models[0]["simulated"]),
        "models": [each["full_name"] or "?" for each in about_models],
        "weights": model_weights,
        "prior": prior,
        "rows": rows,
    }
    write_json(about, sources)
    logger.info("%s: mean probability %.5f (submission.prior: %s)", submission, mean, prior)
    if facts is not None:
        log_alarms(alarms, facts.with_suffix(".md"))


def _checked_metadata(
    paths: Sequence[Path], parts: Sequence[Part], model: Path, code: str | None, full_name: str
) -> Mapping[str, str]:
    """The first file's metadata; raises UserError if a file is of another part, model or code.

    A killed Snakemake may not have recorded which code wrote a file.
    """
    digest = fingerprint(model)
    file_metadata = [metadata_of(read_table(path, ())) for path in paths]
    for path, metadata, part in zip(paths, file_metadata, parts, strict=True):
        require_made_for(path, metadata.get("full_name", ""), full_name)
        needed = {"model": digest, "code": code or metadata.get("code"), "part": part.version}
        wrong = [key for key, value in needed.items() if metadata.get(key) != value]
        if wrong:
            what = "test rows" if wrong[0] == "part" else wrong[0]
            raise UserError(
                f"{path}: these predictions are not from the current {what}. If the workflow "
                f"made this file, delete it and data/h5/test/{path.stem}.h5, and run the same "
                f"command again; otherwise predict again"
            )
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
    """Write a CSV of IDs and click probabilities; return their number and mean.

    by_model: the prediction files of each model, one for each part of the test table
    id_column, label_column: names of the CSV's columns; without an ID ('') a column `row` numbers
        the rows from 1
    sample_submission: a file that gives the IDs, their order and the label's name
    weights: the weight of each model in the mean of the logits
    shift: subtracted from each row's mean logit

    Raises UserError, and writes nothing, if IDs are repeated, or differ from those of the sample.
    """
    listed = "predicted AS listed"
    if sample_submission is not None:
        label_column = prediction_column(Location(sample_submission), id_column, label_column)
        listed = "sample AS listed JOIN predicted USING (id)"
    with id_database(submission) as database:
        add_ids(database, "predicted", _average(by_model, weights, id_column), "the predictions")
        if sample_submission is not None:
            compare_sample_ids(database, sample_submission, id_column, "predicted")
        # All IDs are quoted if an ID has a character special to CSV; else none, as in the sample.
        special = r"""regexp_matches(id, '[",\r\n]')"""
        counted = database.sql(f"SELECT count(*), bool_or({special}) FROM predicted")
        [(rows, is_quoted)] = counted.fetchall()
        quoting = "needed" if is_quoted else "none"
        options = pacsv.WriteOptions(include_header=False, quoting_style=quoting)
        query = f"SELECT id, logit FROM {listed} ORDER BY listed.row"
        total = 0.0
        with atomic_write(submission) as temporary:
            with open(temporary, "w", newline="", encoding="utf-8") as text:
                header = [id_column or ROW_COLUMN, label_column]
                csv.writer(text, lineterminator="\n").writerow(header)
            with open(temporary, "ab") as file:
                for batch in database.sql(query).to_arrow_reader(_BATCH_ROWS):
                    probability = sigmoid(batch["logit"].to_numpy() - shift).astype(np.float32)
                    columns = [batch["id"], probability]
                    pacsv.write_csv(pa.table(columns, ["id", "probability"]), file, options)
                    total += probability.sum(dtype=np.float64)
    return rows, total / rows


def _average(
    by_model: Sequence[Sequence[Path]], weights: Sequence[float], id_column: str
) -> Iterator[pa.Table]:
    """Yield IDs and mean logits of the models, part by part."""
    rows = 0
    for paths in zip(*by_model, strict=True):
        tables = [read_table(path, ("id", "logit")) for path in paths]
        mean = mean_logit([table["logit"].to_numpy() for table in tables], weights)
        ids = tables[0]["id"] if id_column else row_ids(rows, len(mean))
        rows += len(mean)
        yield pa.table({"id": ids, "logit": mean})
