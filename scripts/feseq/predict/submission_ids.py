"""The check of submission IDs: those of the sample submission, each once and in its order."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..common.errors import UserError, first_line
from ..common.ids import parts_by_hash, repeated_ids
from ..raw.location import Location

# One request for a remote file.
_BLOCK_BYTES = 1 << 23


def read_sample_ids(path: str | Path, id_column: str) -> pa.ChunkedArray:
    """The unchanged ID strings of a sample submission; raises UserError if it is unusable."""
    location = Location(path)
    version = location.version()
    try:
        table = pacsv.read_csv(
            location.open(),
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                include_columns=[id_column],
                column_types={id_column: pa.string()},
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise location.read_error(error) or UserError(
            f"{path}: cannot be read as a CSV file with a column {id_column!r} "
            f"({first_line(error)}); its header should name {id_column!r} and the label"
        ) from None
    location.check_unchanged(version)
    ids = table[id_column]
    check_unique(ids, str(path))
    return ids


def check_ids(
    wanted: pa.ChunkedArray,
    ids: pa.ChunkedArray,
    path: str | Path,
    there: str = "predicted",
    others: str = "predicted IDs",
) -> np.ndarray:
    """The row in `ids` of each of the `wanted` IDs of `path`; neither has duplicates.

    Raises UserError, in which `there` and `others` say what `ids` are, unless both hold the same.
    """
    place = np.full(len(wanted), -1, np.int64)
    for in_wanted, in_ids in zip(parts_by_hash(wanted), parts_by_hash(ids)):
        found = pc.index_in(wanted.filter(in_wanted), value_set=ids.filter(in_ids).combine_chunks())
        found = pc.fill_null(found, -1).to_numpy()
        # The last entry, -1, is for IDs that were not found.
        place[in_wanted] = np.append(np.flatnonzero(in_ids), -1)[found]
    is_missing = place < 0
    is_extra = np.ones(len(ids), bool)
    is_extra[place[~is_missing]] = False
    complaints = [
        f"{rows.sum():,} {what}, such as {of[int(rows.argmax())].as_py()!r}"
        for rows, what, of in (
            (is_missing, f"of its IDs are not {there}", wanted),
            (is_extra, f"{others} are not in it", ids),
        )
        if rows.any()
    ]
    if complaints:
        raise UserError(
            f"{path}: {' and '.join(complaints)} ({len(wanted):,} IDs in it, {len(ids):,} "
            f"{there}); it must belong to the test file: take the file that came with it, or "
            f"move it away (raw.sample_submission) to submit in the order of the test file"
        )
    return place


def check_unique(ids: pa.ChunkedArray, where: str) -> None:
    """Raise UserError if an ID occurs twice in `where`."""
    repeated, example = repeated_ids(ids)
    if repeated:
        raise UserError(
            f"{where}: {repeated:,} IDs occur more than once, for example {example!r}; a "
            f"submission has one row per ID"
        )
