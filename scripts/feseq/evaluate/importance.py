"""What a model's AUC rests on: how much of it is lost when a column or the history is changed.

A column is changed by giving each row the value of another row, drawn at random (Breiman, Machine
Learning 45, 2001). All changes are made to the same rows, and each row gets all its values from one
other row, so that the losses can be compared. The rows are some on which models are reported, at
most `ROWS` with a click and `ROWS` without: an AUC does not depend on the share of clicks, and few
clicks are what makes it uncertain. Other rows are drawn at the file's click rate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..common.files import write_json
from ..common.ragged import Ragged
from ..config.runtime import Runtime
from ..dataset.block import Block
from ..dataset.feature_map import FeatureMap, check_one_draw, check_same_kind
from ..dataset.opening import Rows, open_table
from ..dataset.table import MemoryTable, Table, reported
from ..families import Model
from ..predict.container import family_in, load_model
from .intervals import Auc, Entry, correct_together

# Rows of either class. More than OTHERS rows without a click for each click take time, add little.
ROWS = 2_048
OTHERS = 5
# Events that the cut leaves.
NEWEST = 20
_SEED = 0
_BLOCK_ROWS = 8_192


class Predict(Protocol):
    """Gives the logits float32 [rows] of changed rows.

    `only_numeric`: nothing but numeric columns is changed since the first call, that of no change.
    """

    def __call__(self, block: Block, *, only_numeric: bool) -> np.ndarray: ...


def importance(model: Model, table: Table, block: Block) -> Predict:
    """How a model predicts changed rows of a table; families may have a faster way."""

    def predict(block: Block, *, only_numeric: bool) -> np.ndarray:
        return model.predict(MemoryTable(table, block))

    return predict


def measure_importance(
    model_file: Path,
    valid: Rows,
    path: Path,
    *,
    full_name: str = "",
    runtime: Runtime | None = None,
    threads: int = 1,
) -> None:
    """Write what a model loses by each change of validation rows, see `write_importance`."""
    model = load_model(model_file, full_name, runtime=runtime, threads=threads)
    predictor = family_in(model_file).verb("importance")
    with open_table(valid) as table:
        check_same_kind(table, model.simulated)
        check_one_draw(model.feature_map, table, table, full_name, model_file)
        write_importance(
            path,
            table,
            model.feature_map,
            lambda block: predictor(model, table, block),
            full_name,
        )


def write_importance(
    path: Path,
    table: Table,
    feature_map: FeatureMap,
    predictor: Callable[[Block], Predict],
    full_name: str = "",
) -> None:
    """Write as JSON what a model loses by each change.

    `predictor` makes the function that predicts, once it knows the rows. The file: `full_name`,
    `simulated_data`, `rows`, `clicks`, `auc` of these rows, and `columns` and `histories`, each a
    list of `changed` and `auc_lost` (value, low, high, chance), the largest loss first. Chances are
    corrected for the number of all changes.
    """
    block, donors = _chosen_rows(table)
    predict, label = predictor(block), block.label
    assert label is not None, "validation rows have labels"
    auc = Auc.of(label, predict(block, only_numeric=False))

    def lost(changed: Block, only_numeric: bool = False) -> Entry:
        return auc.minus(Auc.of(label, predict(changed, only_numeric=only_numeric)))

    found: dict[str, list[dict[str, Any]]] = {
        "columns": [
            {"changed": name, "auc_lost": lost(changed, only_numeric)}
            for name, changed, only_numeric in _with_columns(block, table, feature_map, donors)
        ],
        "histories": [
            {"changed": name, "auc_lost": lost(replace(block, sequences=changed))}
            for name, changed in _with_histories(block.sequences, donors)
        ],
    }
    correct_together([entry["auc_lost"] for entries in found.values() for entry in entries])
    for entries in found.values():
        entries.sort(key=lambda entry: -(entry["auc_lost"]["value"] or 0))
    about = {"full_name": full_name, "simulated_data": table.source["simulated"]}
    about |= {"rows": len(block), "clicks": int(label.sum()), "auc": auc.entry()}
    write_json(path, about | found)


def _chosen_rows(table: Table) -> tuple[Block, np.ndarray]:
    """The first reported rows of each class, and for each of them another one, [rows]."""
    label, shown = table.column("label"), np.flatnonzero(reported(table.holdout))
    is_click = label[shown] == 1
    most = min(ROWS, OTHERS * max(1, int(is_click.sum())))
    chosen = np.sort(np.concatenate([shown[is_click][:ROWS], shown[~is_click][:most]]))
    parts = []
    for start in range(0, table.rows, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, table.rows)
        inside = chosen[(start <= chosen) & (chosen < stop)]
        if len(inside):
            parts.append(table.read(start, stop).take(inside - start))
    clicked = label[chosen] == 1
    # As often as in the file, however many of each class are chosen.
    share = np.where(clicked, is_click.sum(), (~is_click).sum()).astype(np.float64)
    share /= np.where(clicked, clicked.sum(), (~clicked).sum())
    donors = np.random.default_rng(_SEED).choice(len(chosen), len(chosen), p=share / share.sum())
    return Block.joined(parts), donors


def _with_columns(
    block: Block, table: Table, feature_map: FeatureMap, donors: np.ndarray
) -> Iterator[tuple[str, Block, bool]]:
    """The rows with one column of others, for each column; whether it is numeric."""
    categories = [*feature_map.profile, *feature_map.targets, *feature_map.context]
    for column in (field.column for field in categories):
        values = _changed(block.categorical, table.categorical_columns, column, donors)
        yield column, replace(block, categorical=values), False
    for column in (field.column for field in feature_map.numeric):
        values = _changed(block.numeric, table.numeric_columns, column, donors)
        yield column, replace(block, numeric=values), True


def _changed(values: np.ndarray, names: Sequence[str], name: str, donors: np.ndarray) -> np.ndarray:
    place, changed = names.index(name), values.copy()
    changed[:, place] = values[donors, place]
    return changed


Histories = Mapping[str, Ragged]


def _with_histories(histories: Histories, donors: np.ndarray) -> Iterator[tuple[str, Histories]]:
    """All histories with the same change, for each kind of change."""
    changes: dict[str, Callable[[Ragged], Ragged]] = {
        "blanked": lambda events: Ragged(events.values[:0], np.zeros_like(events.offsets)),
        "those of other rows": lambda events: events.take(donors),
        "events in another order": _shuffled,
        f"cut to the {NEWEST} newest": lambda events: events.take(np.arange(len(events)), NEWEST),
    }
    for name, change in changes.items():
        yield name, {column: change(events) for column, events in histories.items()}


def _shuffled(events: Ragged) -> Ragged:
    """The events of each row in another order, the same for histories of the same lengths."""
    row = np.repeat(np.arange(len(events)), events.lengths)
    key = np.random.default_rng(_SEED).random(len(row))
    return Ragged(events.values[np.lexsort((key, row))], events.offsets)
