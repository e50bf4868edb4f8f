"""What an AUC rests on: what the prediction reads."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from support.raw_tables import COLUMNS, raw_table, to_train_h5
from tossctr.common.files import read_json
from tossctr.datasets.store import H5Table
from tossctr.datasets.table import Block, MemoryTable
from tossctr.evaluate import permutation as importance_module
from tossctr.evaluate.permutation import HISTORY_CHANGE, measure_importance, select_rows
from tossctr.features.fitting import fit_feature_map
from tossctr.features.similarities import row_folds

READ: dict[str, Callable[[Block], np.ndarray]] = {
    "price": lambda block: np.nan_to_num(block.numeric[:, 0], posinf=9, neginf=-9),
    "country": lambda block: block.categorical[:, 0].astype(float),
    HISTORY_CHANGE: lambda block: block.sequences["events"].lengths.astype(float),
}


@pytest.mark.parametrize("read", READ)
def test_what_is_not_read_loses_nothing(
    read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = raw_table(600, seed=2, longest=40)
    train, valid = to_train_h5(tmp_path, table, valid_rows=range(200, 600))
    seen: list[tuple[list[int], list[int]]] = []

    def predict(rows: MemoryTable) -> np.ndarray:
        block = rows.block
        seen.append((block.row.tolist(), row_folds("history", block, "events", 99).tolist()))
        # The label makes it a model that knows something.
        known = READ[read](block)
        return known + 0.1 * np.abs(known).max() * block.label

    model = Mock(predict=predict)
    model.about.feature_map = fit_feature_map(train, COLUMNS, 1)
    monkeypatch.setattr(importance_module, "load_model", lambda *_, **__: model)
    measure_importance(tmp_path, [valid], tmp_path / "out.json", full_name="toy/a")
    importance = read_json(tmp_path / "out.json")
    lost = {e["changed"]: e["auc_lost"] for e in importance["changes"]}
    assert set(lost) == {HISTORY_CHANGE, "price", "age", "country", "item"}
    assert {name for name, entry in lost.items() if entry["value"] != 0} == {read}
    assert {name for name, entry in lost.items() if entry["p_value"] < 1} <= {read}
    # The same rows, and their folds, for each change.
    assert set(seen[0][0]) == set(range(200, 600))
    assert seen == [seen[0]] * 6
    assert (importance["rows"], importance["full_name"]) == (400, "toy/a")


def test_each_class_has_its_rows_and_others_come_at_the_file_s_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance_module, "MAX_CLASS_ROWS", 100)
    _, valid = to_train_h5(tmp_path, raw_table(2000), valid_rows=range(2000 - 1, 400, -1))
    with H5Table(valid) as table:
        block, donors = select_rows(table)
        rate = table.column("label").mean()
    assert block.label is not None
    assert np.bincount(block.label).tolist() == [100, 100]
    assert block.label[donors].mean() == pytest.approx(rate, abs=0.1)
