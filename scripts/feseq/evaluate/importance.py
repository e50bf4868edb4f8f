"""What a model's AUC rests on: how much of it is lost when a column or the history is changed.

A column is changed by giving each row the value of another row, drawn at random (Breiman, Machine
Learning 45, 2001). All changes are made to the same rows, and each row gets all its values from one
other row, so that the losses can be compared. The rows are some on which models are reported, at
most `ROWS` with a click and `ROWS` without: an AUC does not depend on the share of clicks, and few
clicks are what makes it uncertain. Other rows are drawn at the file's click rate.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog.loading import family_in, load_model
from ..common.files import Output, write_json
from ..common.ragged import Ragged
from ..config.runtime import Runtime
from ..family.model import Model
from ..features.feature_map import FeatureMap, check_one_draw
from ..storage.block import Block
from ..storage.opening import open_table
from ..storage.table import MemoryTable, SomeRows, Table
from .delong import Auc, Entry, correct_together

# Rows of either class. More than OTHERS rows without a click for each click take time, add little.
ROWS = 2_048
OTHERS = 5
# Events that the cut leaves.
NEWEST = 20
_SEED = 0

# Gives the logits float32 [rows] of changed rows; what is not changed are the block's own arrays.
Predict = Callable[[Block], np.ndarray]


def measure_importance(
    model: Path,
    rows: list[Path],
    importance: Output,
    *,
    full_name: str = "",
    runtime: Runtime | None = None,
    threads: int = 1,
) -> None:
    """Write what a model loses by each change of some of the rows, see `write_importance`."""
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    family = family_in(model)
    has_own = "importance" in family.entry_points
    predictor = family.entry_point("importance") if has_own else _predict_changed
    with open_table(rows) as table:
        check_one_draw(loaded.about.feature_map, table, table, full_name, model)
        predict = partial(predictor, loaded, table)
        write_importance(importance, table, loaded.about.feature_map, predict, full_name)


def measure_attention(
    model: Path,
    valid: list[Path],
    attention: Output,
    *,
    full_name: str = "",
    runtime: Runtime | None = None,
    threads: int = 1,
) -> None:
    """Write what a network looks at in validation rows, see `mean_attention`."""
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    write_json(attention, family_in(model).entry_point("attention")(loaded, valid))


def _predict_changed(model: Model, table: Table, block: Block) -> Predict:
    """How a model predicts changed rows of a table; a family may have a faster way."""
    return lambda changed: model.predict(MemoryTable(table, changed))


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
    list of `changed` and `auc_lost` (value, low, high, p_value), the largest loss first. P-values
    are corrected for the number of all changes.
    """
    block, donors = chosen_rows(table)
    predict, label = predictor(block), block.label
    assert label is not None, "validation rows have labels"
    auc = Auc.of(label, predict(block))
    found: dict[str, Any] = {"full_name": full_name, "simulated_data": table.source["simulated"]}
    found |= {"rows": len(block), "clicks": int(label.sum()), "auc": auc.entry()}
    entries: list[Entry] = []
    for kind, changes in (
        ("columns", _with_columns(block, table, feature_map, donors)),
        ("histories", _with_histories(block, donors)),
    ):
        lost = {name: auc.minus(Auc.of(label, predict(changed))) for name, changed in changes}
        ranked = sorted(lost.items(), key=lambda pair: -(pair[1]["value"] or 0))
        found[kind] = [{"changed": name, "auc_lost": entry} for name, entry in ranked]
        entries += lost.values()
    correct_together(entries)
    write_json(path, found)


def chosen_rows(table: Table) -> tuple[Block, np.ndarray]:
    """The first rows of each class, and for each of them another one, [rows]."""
    is_click = table.column("label") == 1
    clicks, others = np.flatnonzero(is_click), np.flatnonzero(~is_click)
    most = min(ROWS, OTHERS * max(1, len(clicks)))
    chosen = np.sort(np.concatenate([clicks[:ROWS], others[:most]]))
    clicked = is_click[chosen]
    # As often as in the file, however many of each class are chosen.
    share = np.where(clicked, len(clicks), len(others)).astype(np.float64)
    share /= np.where(clicked, clicked.sum(), (~clicked).sum())
    donors = np.random.default_rng(_SEED).choice(len(chosen), len(chosen), p=share / share.sum())
    return SomeRows(table, chosen).read(0, len(chosen)), donors


def _with_columns(
    block: Block, table: Table, feature_map: FeatureMap, donors: np.ndarray
) -> Iterator[tuple[str, Block]]:
    """The rows with one column of others, for each column."""
    categories = [*feature_map.profile, *feature_map.targets, *feature_map.context]
    for kind, fields, names in (
        ("categorical", categories, table.categorical_columns),
        ("numeric", feature_map.numeric, table.numeric_columns),
    ):
        for column in (field.column for field in fields):
            values, place = getattr(block, kind).copy(), list(names).index(column)
            values[:, place] = values[donors, place]
            yield column, replace(block, **{kind: values})


def _with_histories(block: Block, donors: np.ndarray) -> Iterator[tuple[str, Block]]:
    """The rows with the same change of all histories, for each kind of change."""
    changes: dict[str, Callable[[Ragged], Ragged]] = {
        "ablated": Ragged.emptied,
        "those of other rows": lambda events: events.take(donors),
        "events in another order": _shuffled,
        f"cut to the {NEWEST} newest": lambda events: events.take(np.arange(len(events)), NEWEST),
    }
    for name, change in changes.items():
        changed = {column: change(events) for column, events in block.sequences.items()}
        if changed:
            yield name, replace(block, sequences=changed)


def _shuffled(events: Ragged) -> Ragged:
    """The events of each row in another order, the same for histories of the same lengths."""
    row = np.repeat(np.arange(len(events)), events.lengths)
    key = np.random.default_rng(_SEED).random(len(row))
    return Ragged(events.values[np.lexsort((key, row))], events.offsets)
