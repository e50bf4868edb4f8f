"""The submission CSV: predictions joined by ID, checked, never matched by position, never cut."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from .errors import UserError, first_line
from .files import fingerprint, written_beside
from .ids import parts_by_hash, repeated_ids
from .parquet import marks_of, read_table

logger = logging.getLogger(__name__)


def write_submission(
    predictions: Sequence[Path],
    sample_submission: Path | None,
    submission: Path,
    *,
    id_column: str,
    label_column: str,
    model: Path | None = None,
) -> None:
    """Write `id_column,label_column`, one row per ID, probabilities in [0, 1].

    IDs and their order are those of `sample_submission` where there is one, else those of the
    predictions. Raises UserError, and writes nothing, if an ID is missing, extra or duplicate on
    either side, or a probability is not finite or outside [0, 1]; with `model`, also unless the
    predictions are all shards of one test file, predicted by that model.
    """
    tables = [read_table(path, ("id", "probability")) for path in predictions]
    if model is not None:
        _check_shards(predictions, [marks_of(table) for table in tables], model)
    table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    ids, probability = table["id"], table["probability"]
    _check_probabilities(probability.to_numpy(), ids)
    _check_unique(ids, "the predictions")
    if sample_submission is not None:
        wanted = read_sample_ids(sample_submission, id_column)
        probability = _join(wanted, ids, probability, sample_submission)
        ids = wanted
    rows = pa.table({"id": ids, "probability": probability})
    # Of a first batch without rows, pyarrow writes what its buffer holds (apache/arrow#36889).
    batches = [batch for batch in rows.to_batches() if len(batch)]
    with written_beside(submission) as temporary, open(temporary, "wb") as file:
        file.write(_csv_line(id_column, label_column))
        pacsv.write_csv(
            pa.Table.from_batches(batches, rows.schema),
            file,
            pacsv.WriteOptions(include_header=False, quoting_style=_quoting(ids)),
        )
    logger.info(
        "%s: %s rows, IDs in the order of %s, mean probability %.5f",
        submission,
        f"{len(ids):,}",
        sample_submission or "the test file",
        pc.mean(probability).as_py(),
    )


def _check_shards(
    predictions: Sequence[Path], marks: Sequence[Mapping[str, str]], model: Path
) -> None:
    """Raise UserError unless these are all rows of one test file in order, predicted by `model`."""
    of_model, stop = fingerprint(model), "0"
    for path, mark in zip(predictions, marks):
        wrong = None
        if mark.get("model") != of_model:
            wrong = f"not predicted by {model} as it is now"
        elif mark.get("test") != marks[0].get("test"):
            wrong = f"of another test file than {predictions[0]}"
        elif mark.get("start") != stop:
            wrong = f"begins with row {mark.get('start')}, where row {stop} should follow"
        if wrong:
            raise UserError(
                f"{path}: {wrong}; delete it and run the same command again, it is predicted anew"
            )
        stop = mark.get("stop", "?")
    if marks and stop != marks[-1].get("rows"):
        raise UserError(
            f"{predictions[-1]}: the last predicted row is {stop} of {marks[-1].get('rows')}; give "
            f"all shards, or delete it and run the same command again"
        )


def read_sample_ids(path: Path, id_column: str) -> pa.ChunkedArray:
    """The ID column of a sample submission, as strings, untouched; raises UserError if unusable."""
    try:
        table = pacsv.read_csv(
            path,
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                include_columns=[id_column],
                column_types={id_column: pa.string()},
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: cannot be read as a CSV file with a column {id_column!r} "
            f"({first_line(error)}); its header should name {id_column!r} and the label"
        ) from None
    ids = table[id_column]
    _check_unique(ids, str(path))
    return ids


def _join(
    wanted: pa.ChunkedArray, ids: pa.ChunkedArray, probability: pa.ChunkedArray, path: Path
) -> pa.Array:
    """Probabilities in the order of `wanted`; both ID columns are free of duplicates."""
    place = np.full(len(wanted), -1, np.int64)
    for in_wanted, in_ids in zip(parts_by_hash(wanted), parts_by_hash(ids)):
        found = pc.index_in(wanted.filter(in_wanted), value_set=ids.filter(in_ids).combine_chunks())
        found = pc.fill_null(found, -1).to_numpy()
        # The last entry answers for what was not found.
        place[in_wanted] = np.append(np.flatnonzero(in_ids), -1)[found]
    is_missing = place < 0
    is_extra = np.ones(len(ids), bool)
    is_extra[place[~is_missing]] = False
    complaints = [
        f"{rows.sum():,} {what}, such as {of[int(rows.argmax())].as_py()!r}"
        for rows, what, of in (
            (is_missing, "of its IDs have no prediction", wanted),
            (is_extra, "predicted IDs are not in it", ids),
        )
        if rows.any()
    ]
    if complaints:
        raise UserError(
            f"{path}: {' and '.join(complaints)} ({len(wanted):,} IDs in it, {len(ids):,} "
            f"predicted); it must belong to the test file: take the file that came with it, or "
            f"move it away (raw.sample_submission) to submit in the order of the test file"
        )
    return pa.array(probability.to_numpy()[place])


def _check_unique(ids: pa.ChunkedArray, where: str) -> None:
    repeated, example = repeated_ids(ids)
    if repeated:
        raise UserError(
            f"{where}: {repeated:,} IDs occur more than once, for example {example!r}; a "
            f"submission has one row per ID"
        )


def _check_probabilities(probability: np.ndarray, ids: pa.ChunkedArray) -> None:
    wrong = np.flatnonzero(~((probability >= 0) & (probability <= 1)))
    if len(wrong):
        raise UserError(
            f"{len(wrong):,} predictions are not probabilities, for example "
            f"{probability[wrong[0]]} for ID {ids[int(wrong[0])].as_py()!r}; the model has "
            f"diverged: lower train.learning_rate and train again"
        )


def _csv_line(*values: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()


def _quoting(ids: pa.ChunkedArray) -> str:
    """Plain IDs stay bare, as in sample_submission.csv; ones with CSV's own signs are quoted."""
    has_sign = pc.any(pc.match_substring_regex(ids, '[",\r\n]')).as_py()
    return "needed" if has_sign else "none"
