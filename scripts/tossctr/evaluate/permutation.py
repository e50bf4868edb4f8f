"""Permutation importance: the AUC that a model loses if a column or the history is permuted.

To change a column, each row gets the value of its donor, a row drawn at random (Breiman, Machine
Learning 45, 2001). All changes use the same rows and donors, so the losses are comparable. The rows
are the first validation rows of each class. Donors are drawn with the click rate of all rows.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..catalog.loading import load_model
from ..common.files import Output, write_json
from ..common.logits import metrics_of
from ..common.progress import Progress
from ..config.declared import DEFAULT_RUNTIME, Runtime
from ..datasets.opening import open_table
from ..datasets.table import Block, MemoryTable, RowSubset, Table
from ..features.feature_map import FeatureMap, check_same_draw
from ..features.similarities import first_events
from .intervals import bootstrap, differences, intervals

# Maximum rows of each class, and negatives per click: more take time and add little.
MAX_CLASS_ROWS = 2_048
MAX_NEGATIVES_PER_CLICK = 5
# The name of the change that permutes all sequences.
HISTORY_CHANGE = "the history"
_SEED = 0


def measure_importance(
    model: Path,
    valid: list[Path],
    importance: Output,
    *,
    full_name: str = "",
    runtime: Runtime = DEFAULT_RUNTIME,
    threads: int = 1,
) -> None:
    """Write the AUC that a model loses if a column or the history is permuted, as JSON.

    The list `changes` begins with the largest loss. Each item has `changed` (the column's name, or
    HISTORY_CHANGE) and `auc_lost`, with a p-value corrected for the number of changes (Holm).
    """
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    with open_table(valid) as table:
        feature_map = loaded.about.feature_map
        check_same_draw(feature_map, table, table, full_name, model)
        block, donors = select_rows(table)
        label = block.label
        assert label is not None, "validation rows have labels"
        columns = len(table.categorical_columns) + len(table.numeric_columns)
        progress = Progress("measured", columns + bool(block.sequences), "changes")
        names, logits = [], [loaded.predict(MemoryTable(table, block))]
        for name, changed in _changes(block, table, feature_map, donors):
            names.append(name)
            logits.append(loaded.predict(MemoryTable(table, changed)))
            progress.advance(1)
        values, samples = bootstrap(label, logits, partial(metrics_of, ["auc"]))
        lost = {name: entry for name, (entry,) in zip(names, differences(values, samples)[1:])}
        facts = {
            "full_name": full_name,
            "simulated_data": table.source["simulated"],
            "rows": len(block),
            "clicks": int(label.sum()),
            "auc": intervals(values[0], samples[:, 0])[0],
            "changes": [
                {"changed": name, "auc_lost": lost[name]}
                for name in sorted(lost, key=lambda name: -(lost[name]["value"] or 0))
            ],
        }
    write_json(importance, facts)


def select_rows(table: Table) -> tuple[Block, np.ndarray]:
    """The first clicks and negatives of a table, and for each of these rows a random donor.

    A donor, from which a column is copied, is the index of one of these rows. On average, donors
    have the table's click rate.
    """
    is_click = table.column("label") == 1
    clicks, negatives = np.flatnonzero(is_click), np.flatnonzero(~is_click)
    max_negatives = min(MAX_CLASS_ROWS, MAX_NEGATIVES_PER_CLICK * max(1, len(clicks)))
    chosen = np.sort(np.concatenate([clicks[:MAX_CLASS_ROWS], negatives[:max_negatives]]))
    clicked = is_click[chosen]
    # Donors have the file's click rate, however many rows of each class are chosen.
    share = np.where(clicked, len(clicks), len(negatives)).astype(np.float64)
    share /= np.where(clicked, clicked.sum(), (~clicked).sum())
    donors = np.random.default_rng(_SEED).choice(len(chosen), len(chosen), p=share / share.sum())
    return RowSubset(table, chosen).read(0, len(chosen)), donors


def _changes(
    block: Block, table: Table, feature_map: FeatureMap, donors: np.ndarray
) -> Iterator[tuple[str, Block]]:
    """Yield each change's name and rows, with donors' values in a column or, last, the history.

    Each row keeps its fold, which its first event determines (`features/similarities.py`).
    """
    for array, fields, names in (
        ("categorical", feature_map.categories, table.categorical_columns),
        ("numeric", feature_map.numeric, table.numeric_columns),
    ):
        for column in (field.column for field in fields):
            values, index = getattr(block, array).copy(), list(names).index(column)
            values[:, index] = values[donors, index]
            yield column, replace(block, **{array: values})
    if block.sequences:
        first = np.empty(len(block), [(column, np.uint64) for column in block.sequences])
        for column, history in block.sequences.items():
            first[column] = first_events(history)
        permuted = {column: events.take(donors) for column, events in block.sequences.items()}
        yield HISTORY_CHANGE, replace(block, first_events=first, sequences=permuted)
