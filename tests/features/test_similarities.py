"""Similarities of targets and histories: vectors of other rows, columns of all rows, a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from support.jobs import run_job
from support.raw_tables import ragged, raw_table, to_train_h5, with_columns, with_roles
from tossctr.common.files import read_json
from tossctr.config.names import FOLDS
from tossctr.datasets.opening import AllRows, open_table
from tossctr.datasets.store import H5Table
from tossctr.datasets.table import SomeRows
from tossctr.features import co_occurrence
from tossctr.features.co_occurrence import CoOccurrences, reduced
from tossctr.features.encoding import FeatureEncoder
from tossctr.features.feature_map import FeatureMap
from tossctr.features.fitting import fit_feature_map
from tossctr.features.similarities import folds
from tossctr.models.boosting.boosting import BoostingConfig
from tossctr.models.boosting.tree_file import load

COLUMNS = with_roles(shared=("events",))
ROWS, VALID, ITEMS, CLUSTERS = 600, 200, 20, 4


def cluster_rows(seed: int = 0, items: int = ITEMS) -> pa.Table:
    """Events of one cluster in a row; an item of it is clicked, and of another one is not."""
    rng = np.random.default_rng(seed)
    cluster, lengths = rng.integers(0, CLUSTERS, ROWS), rng.integers(0, 8, ROWS)
    item = rng.integers(0, items, ROWS)
    events = [
        c + CLUSTERS * rng.integers(0, items // CLUSTERS, n) for c, n in zip(cluster, lengths)
    ]
    return raw_table(
        ROWS,
        events=[",".join(map(str, row)) for row in events],
        item=item.astype(str).tolist(),
        y=((item % CLUSTERS == cluster) & (rng.random(ROWS) < 0.9)).astype(np.int8),
    )


def fitted(folder: Path, rows: pa.Table, **arrays: Any) -> tuple[list[Path], FeatureMap]:
    folder.mkdir(exist_ok=True)
    files = to_train_h5(folder, rows, columns=COLUMNS, valid_rows=range(VALID), **arrays)
    return list(files), fit_feature_map(files[0], COLUMNS, 1)


def codes(path: Path, fields: FeatureMap) -> tuple[list[list[int]], np.ndarray]:
    """The indices of each row's history and of its target."""
    with H5Table(path) as table:
        encoder, block = FeatureEncoder(fields, table), table.read(0, table.rows)
        history = block.sequences["events"]
        index = encoder.sequences[0](history.values)
        target = encoder.categories(block)[:, len(fields.profile)]
    return [row.tolist() for row in np.split(index, history.offsets[1:-1])], target


def vectors_of(histories: list[list[int]], size: int) -> np.ndarray:
    """Vectors by code, of all these rows."""
    counts = CoOccurrences(np.arange(3, size), size, 1)
    counts.add(np.zeros(len(histories), np.int64), ragged(histories))
    return np.concatenate([np.zeros((3, 24)), reduced(counts.counts[0])])


def cosines(history: list[int], target: int, vectors: np.ndarray) -> list[float]:
    events = [vectors[code] for code in history if vectors[code].any()]
    item = vectors[target]
    if not events or not item.any():
        return [np.nan] * 3
    mean, each = np.sum(events, axis=0), [event @ item for event in events]
    return [mean @ item / np.linalg.norm(mean), each[-1], max(each)]


def statistics(files: Path | AllRows, fields: FeatureMap) -> np.ndarray:
    """What all rows' histories tell, similarities last."""
    with open_table(files) as table:
        block = table.read(0, table.rows)
        return FeatureEncoder(fields, table).statistics_of(block)


def folds_of(path: Path, numbers: np.ndarray | None) -> np.ndarray:
    """The fold of each row, by these numbers or by its history."""
    with H5Table(path) as table:
        if numbers is not None:
            return numbers[table.column("row")]
        return folds("history", table.read(0, table.rows), "events", FOLDS)


@pytest.mark.parametrize("what", ["period", "fold", "history"])
def test_train_rows_have_vectors_of_other_rows(tmp_path: Path, what: str) -> None:
    numbers = np.random.default_rng(1).integers(0, FOLDS, ROWS)
    arrays = {} if what == "history" else {what: numbers}
    (train, valid), fields = fitted(tmp_path, cluster_rows(), **arrays)
    assert FeatureMap.from_dict(fields.to_dict()) == fields
    size = fields.sequences[0].size
    (items,) = fields.item_vectors
    assert items.fold_of == what
    assert len(items.vectors) == FOLDS + 1
    train_histories, _ = codes(train, fields)
    fold, held_out_fold = (folds_of(path, arrays.get(what)) for path in (train, valid))
    if what != "history":
        # Held-out rows are newer, or of other groups.
        held_out_fold[:] = FOLDS
    of_fold = {FOLDS: vectors_of(train_histories, size)}
    for number in range(FOLDS):
        is_other = fold < number if what == "period" else fold != number
        some = [row for row, other in zip(train_histories, is_other) if other]
        of_fold[number] = vectors_of(some, size)
    for path, of_row, feature_map in (
        (train, fold, fields),
        (valid, held_out_fold, fields),
        (valid, np.full(VALID, FOLDS), replace(fields, fitted_on="another draw")),
        (valid, np.full(VALID, FOLDS), fields.for_other_rows()),
        (train, np.full(len(fold), FOLDS), fields.for_other_rows()),
    ):
        histories, target = codes(path, fields)
        told = statistics(path, feature_map)[:, -3:]
        for history, item, number, values in zip(histories, target, of_row, told, strict=True):
            expected = cosines(history, item, of_fold[number])
            assert values == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_only_the_commonest_items_have_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(co_occurrence, "MOST_CODES", 3)
    _, fields = fitted(tmp_path, cluster_rows())
    (items,) = fields.item_vectors
    assert len(items.codes) == 3


def test_some_rows_have_the_vectors_that_all_have(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, FOLDS, ROWS)
    (train, valid), fields = fitted(tmp_path, cluster_rows(), fold=numbers)
    random = np.random.default_rng(2)
    for files in (train, AllRows(train, valid)):
        again = fields if files is train else fit_feature_map(train, COLUMNS, 1, valid)
        told = statistics(files, again)
        assert np.nanmax(np.abs(statistics(files, again.for_other_rows()) - told)) > 0.01
        with open_table(files) as table:
            whole, encoder = table.read(0, table.rows), FeatureEncoder(again, table)
            rows = random.permutation(table.rows)[:50]
            of_rows = encoder.statistics_of(whole.take(rows))
            assert np.array_equal(of_rows, told[rows], equal_nan=True)
            some = SomeRows(table, np.sort(rows))
            encoder, block = FeatureEncoder(again, some), some.read(0, 50)
            of_some = encoder.statistics_of(block)
            assert np.array_equal(of_some, told[np.sort(rows)], equal_nan=True)


def test_newer_rows_have_the_vectors_of_all_train_rows(tmp_path: Path) -> None:
    period = np.arange(ROWS) < VALID
    (_, valid), fields = fitted(tmp_path, cluster_rows(), period=period)
    told = [statistics(valid, each)[:, -3:] for each in (fields, fields.for_other_rows())]
    assert fields.item_vectors[0].fold_of == "history"
    np.testing.assert_array_equal(*told)


@pytest.mark.parametrize("kind", ["history", "period"])
def test_a_refit_has_the_folds_of_the_first_training(tmp_path: Path, kind: str) -> None:
    # The rows held out are the newest; train rows are of one period, or of two.
    row = np.arange(ROWS)
    newest = 1 + (kind == "period")
    period = np.where(row < VALID, newest, (row % 2) * (kind == "period"))
    (train, valid), fields = fitted(tmp_path, cluster_rows(), period=period)
    refit = fit_feature_map(train, COLUMNS, 1, valid)
    fold = {}
    for name, files, feature_map in (
        ("first", train, fields),
        ("refit", AllRows(train, valid), refit),
    ):
        (items,) = feature_map.item_vectors
        with open_table(files) as table:
            block, count = table.read(0, table.rows), len(items.vectors) - 1
        numbers = folds(items.fold_of, block, "events", count)
        assert items.fold_of == kind
        fold[name] = dict(zip(block.row.tolist(), numbers.tolist()))
    assert fold["first"].items() <= fold["refit"].items()


def test_histories_that_begin_alike_are_in_one_fold(tmp_path: Path) -> None:
    rows = cluster_rows()
    (train, _), _ = fitted(tmp_path, rows)
    with H5Table(train) as table:
        block = table.read(0, table.rows)
    fold = folds("history", block, "events", 1 << 20)
    texts = [rows["events"][int(row)].as_py() for row in block.row]
    first = [text.partition(",")[0] for text in texts]
    assert len({*zip(first, fold)}) == len({*first}) == ITEMS + 1
    # Without events as with token 0.
    assert len({*fold}) == ITEMS


def test_cut_histories_of_unknown_users_have_no_vectors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = cluster_rows()
    newest = [",".join(text.split(",")[-4:]) for text in rows["events"].to_pylist()]
    cut = with_columns(rows, events=newest)
    (train, _), fields = fitted(tmp_path / "cut", cut)
    assert not fields.item_vectors
    for named in ("'events'", "4 events", "columns.group"):
        assert named in caplog.text
    assert fields.statistics[-1].column.startswith("similarities")
    assert np.isnan(statistics(train, fields)[:, -3:]).all()
    _, fields = fitted(tmp_path / "by_period", cut, period=np.arange(ROWS) % 4)
    assert fields.item_vectors


def test_one_history_in_many_rows_is_no_sign_of_a_cut(tmp_path: Path) -> None:
    rows = cluster_rows()
    events = [*rows["events"].to_pylist()[:-200], *["3,7,11,15,19,3,7,11,15"] * 200]
    _, fields = fitted(tmp_path, with_columns(rows, events=events))
    assert fields.item_vectors


def test_boosting_learns_by_similarities_and_its_file_has_their_vectors(tmp_path: Path) -> None:
    to_train_h5(tmp_path, cluster_rows(), columns=COLUMNS, valid_rows=range(400, ROWS))
    fields = fit_feature_map([tmp_path / "train.h5"], COLUMNS, 1)
    fields.write(tmp_path / "feature_map.json")
    auc = {}
    for sets in ([], ["similarities"]):
        config = BoostingConfig(
            trees=30, learning_rate=0.3, min_child_weight=1, features=sets, bags=1
        )
        outputs = run_job(tmp_path, tmp_path / f"{len(sets)}", {"boosting": config.values()})
        auc[len(sets)] = read_json(outputs["training"])["valid_auc"]
    assert auc[1] > auc[0] + 0.2
    assert load(outputs["model"]).about.feature_map == fields
