"""The rows that check an export, as raw values, among them rare cases."""

from typing import Any

import numpy as np

from ...datasets.categories import codes_of, words_by_token
from ...datasets.table import Table

_UNSEEN_WORD, _UNSEEN_TOKEN = "never seen in training", str(10**12)
# Shares of the rows without history; of values that are missing; of values that are unseen.
_EMPTY, _MISSING, _UNSEEN = 0.1, 0.05, 0.05


def raw_rows(table: Table, rows: int, row_time: str | None = None) -> list[dict[str, Any]]:
    """The first rows of a table, each as raw values by column name, its time as `row_time`."""
    block = table.read(0, min(rows, table.rows))
    columns = dict(zip(table.numeric_columns, block.numeric.T.tolist()))
    for name, codes in zip(table.categorical_columns, block.categorical.T):
        words = table.vocabulary(name)
        word_of = dict(zip(codes_of(words).tolist(), words))
        columns[name] = [word_of.get(code) for code in codes.tolist()]
    for name, ragged in block.sequences.items():
        words = table.vocabulary(name)
        name_of = words_by_token(words)
        tokens = np.split(ragged.values, ragged.offsets[1:-1])
        columns[name] = [[name_of.get(t) or str(t) for t in row.tolist()] for row in tokens]
    if row_time and block.time is not None:
        columns[row_time] = block.time.tolist()
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def check_rows(
    table: Table, rows: int, row_time: str | None, tokens: set[str]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """`rows` rows, repeated if the table has fewer, and the numbers of rare cases among them.

    Some histories are empty, some values missing, and some categories and `tokens`, the columns
    of sequences, unseen in training.
    """
    random = np.random.default_rng(0)
    known = raw_rows(table, rows, row_time)
    checked = [dict(known[i % len(known)]) for i in range(rows)]
    counts = dict.fromkeys(("missing_values", "unseen_categories"), 0)
    for row in checked:
        for name in (*table.numeric_columns, *table.categorical_columns):
            drawn = random.random()
            if drawn < _MISSING:
                row[name] = None
            elif drawn > 1 - _UNSEEN and name in table.categorical_columns:
                row[name] = _UNSEEN_WORD
                counts["unseen_categories"] += 1
            counts["missing_values"] += row[name] is None or row[name] != row[name]
        is_empty = random.random() < _EMPTY
        for name in table.sequence_columns:
            events = [] if is_empty else row[name]
            unseen = random.random(len(events)) < _UNSEEN * (name in tokens)
            row[name] = [_UNSEEN_TOKEN if u else event for u, event in zip(unseen, events)]
    first = next(iter(table.sequence_columns), "")
    empty = sum(not row.get(first) for row in checked)
    return checked, {"rows": rows, "rows_without_history": empty} | counts
