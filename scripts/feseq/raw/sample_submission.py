"""The header of the sample submission, which names the columns of a submission."""

import csv
import io

from ..common.errors import UserError
from .location import Location

_HEADER_BYTES = 1 << 16


def label_name(location: Location, id_column: str, label_column: str) -> str:
    """The name of the predictions' column: that of the sample's column beside the ID, if any.

    `label_column` is the train file's. Raises UserError if the header has no such ID, or several
    columns of other names.
    """
    with location.open() as file:
        head = file.read(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    header = next(csv.reader(io.StringIO(head, newline="")), [])
    others = [name for name in header if name != id_column]
    if id_column not in header:
        raise UserError(
            f"{location}: its header {','.join(header)!r} has no column {id_column!r}; it should "
            f"name {id_column!r} and the label: correct the file, columns.id or "
            f"raw.sample_submission"
        )
    if label_column in others or not others:
        return label_column
    if len(others) > 1:
        raise UserError(
            f"{location}: its header {','.join(header)!r} has {len(others)} columns beside "
            f"{id_column!r}, and none is {label_column!r}: which one is the label? Correct the "
            f"file, or columns.label"
        )
    return others[0]
