"""Similarities of targets and histories, by vectors of items of other rows; a model of them."""

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from support.jobs import run_job
from support.raw_tables import (
    ragged,
    raw_table,
    split_events,
    to_train_h5,
    with_columns,
    with_roles,
)
from tossctr.common.files import read_json
from tossctr.config.names import FOLDS
from tossctr.datasets.opening import TrainAndValidation, open_table
from tossctr.datasets.store import H5Table
from tossctr.datasets.table import Block, RowSubset
from tossctr.features import co_occurrence
from tossctr.features.co_occurrence import CoOccurrences, are_truncated, ppmi_vectors
from tossctr.features.encoding import FeatureEncoder
from tossctr.features.feature_map import FeatureMap
from tossctr.features.fitting import fit_feature_map
from tossctr.features.similarities import row_folds
from tossctr.models.boosting.boosting import BoostingConfig
from tossctr.models.boosting.tree_file import load

COLUMNS = with_roles(shared=("events",))
ROWS, VALID, ITEMS, CLUSTERS = 300, 100, 20, 4


def cluster_rows(rows: int = ROWS) -> pa.Table:
    """Events of one cluster in a row; an item of it is clicked, and of another one is not."""
    rng = np.random.default_rng(0)
    cluster, lengths = rng.integers(0, CLUSTERS, rows), rng.integers(0, 8, rows)
    item = rng.integers(0, ITEMS, rows)
    events = [
        c + CLUSTERS * rng.integers(0, ITEMS // CLUSTERS, n) for c, n in zip(cluster, lengths)
    ]
    return raw_table(
        rows,
        events=[",".join(map(str, row)) for row in events],
        item=item.astype(str).tolist(),
        y=((item % CLUSTERS == cluster) & (rng.random(rows) < 0.9)).astype(np.int8),
    )


def fitted(folder: Path, rows: pa.Table, **arrays: Any) -> tuple[list[Path], FeatureMap]:
    folder.mkdir(exist_ok=True)
    files = to_train_h5(folder, rows, columns=COLUMNS, valid_rows=range(VALID), **arrays)
    return list(files), fit_feature_map(files[0], COLUMNS, 1)


def block_of(files: Path | TrainAndValidation) -> Block:
    """All rows of the files."""
    with open_table(files) as table:
        return table.read(0, table.rows)


def codes(path: Path, fields: FeatureMap) -> tuple[list[list[int]], np.ndarray]:
    """The indices of each row's history and of its target."""
    with H5Table(path) as table:
        encoder, block = FeatureEncoder(fields, table), table.read(0, table.rows)
        history = block.sequences["events"]
        index = encoder.sequences[0](history.values)
        target = encoder.categories(block)[:, len(fields.profile)]
    return [row.tolist() for row in np.split(index, history.offsets[1:-1])], target


def counted(rows: list[list[int]], codes: range) -> np.ndarray:
    """How often these codes, of those below 100, co-occur in rows of one fold."""
    counts = CoOccurrences(np.array(codes), 100, 1)
    counts.add(np.zeros(len(rows), np.int64), ragged(rows))
    return counts.counts[0]


def vectors_of(histories: list[list[int]], size: int) -> np.ndarray:
    """Vectors by code, of all these rows."""
    return np.concatenate([np.zeros((3, 24)), ppmi_vectors(counted(histories, range(3, size)))])


def cosines(history: list[int], target: int, vectors: np.ndarray) -> list[float]:
    events = [vectors[code] for code in history if vectors[code].any()]
    item = vectors[target]
    if not events or not item.any():
        return [np.nan] * 3
    mean, each = np.sum(events, axis=0), [event @ item for event in events]
    return [mean @ item / np.linalg.norm(mean), each[-1], max(each)]


def statistics(files: Path | TrainAndValidation, fields: FeatureMap) -> np.ndarray:
    """What all rows' histories tell, similarities last."""
    with open_table(files) as table:
        block = table.read(0, table.rows)
        return FeatureEncoder(fields, table).all_statistics(block)


@pytest.mark.parametrize("what", ["period", "fold", "history", "newer"])
def test_train_rows_have_vectors_of_other_rows(tmp_path: Path, what: str) -> None:
    numbers = np.random.default_rng(1).integers(0, FOLDS, ROWS)
    arrays = {what: numbers} if what in ("period", "fold") else {}
    newer = {"period": np.arange(ROWS) < VALID} if what == "newer" else {}
    (train, valid), fields = fitted(tmp_path, cluster_rows(), **arrays, **newer)
    assert FeatureMap.from_dict(fields.to_dict()) == fields
    size = fields.sequences[0].size
    (items,) = fields.item_vectors
    assert items.fold_of == (what if arrays else "history")
    assert len(items.vectors) == FOLDS + 1
    train_histories, _ = codes(train, fields)
    fold, held_out_fold = (
        numbers[block.row] if arrays else row_folds("history", block, "events", FOLDS)
        for block in map(block_of, (train, valid))
    )
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
    ):
        histories, target = codes(path, fields)
        rows = zip(histories, target, of_row, strict=True)
        expected = [cosines(history, item, of_fold[number]) for history, item, number in rows]
        np.testing.assert_allclose(statistics(path, feature_map)[:, -3:], expected, atol=1e-5)


def test_only_the_commonest_items_have_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(co_occurrence, "MAX_ITEMS", 3)
    (train, _), fields = fitted(tmp_path, cluster_rows())
    (items,) = fields.item_vectors
    counts = Counter(chain(*codes(train, fields)[0]))
    assert items.codes == sorted(code for code, _ in counts.most_common(3))


def test_some_rows_have_the_vectors_that_all_have(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, FOLDS, ROWS)
    (train, valid), fields = fitted(tmp_path, cluster_rows(), fold=numbers)
    refit = fit_feature_map(train, COLUMNS, 1, valid)
    rows = np.arange(0, ROWS - VALID, 7)
    for files, feature_map in ((train, fields), (TrainAndValidation(train, valid), refit)):
        actual = statistics(files, feature_map)
        without_folds = statistics(files, replace(feature_map, fitted_on="another draw"))
        assert np.nanmax(np.abs(without_folds - actual)) > 0.01
        with open_table(files) as table:
            some = RowSubset(table, rows)
            of_some = FeatureEncoder(feature_map, some).all_statistics(some.read(0, len(rows)))
        assert np.array_equal(of_some, actual[rows], equal_nan=True)


@pytest.mark.parametrize("kind", ["history", "period"])
def test_a_refit_has_the_folds_of_the_first_training(tmp_path: Path, kind: str) -> None:
    # The rows held out are the newest; train rows are of one period, or of two.
    row = np.arange(ROWS)
    newest = 1 + (kind == "period")
    period = np.where(row < VALID, newest, (row % 2) * (kind == "period"))
    (train, valid), first = fitted(tmp_path, cluster_rows(), period=period)
    refit = fit_feature_map(train, COLUMNS, 1, valid)
    fold_of_rows = []
    for files, feature_map in ((train, first), (TrainAndValidation(train, valid), refit)):
        (items,) = feature_map.item_vectors
        assert items.fold_of == kind
        block = block_of(files)
        numbers = row_folds(kind, block, "events", len(items.vectors) - 1)
        fold_of_rows.append(dict(zip(block.row.tolist(), numbers.tolist())))
    assert fold_of_rows[0].items() <= fold_of_rows[1].items()


def test_histories_that_begin_alike_are_in_one_fold(tmp_path: Path) -> None:
    rows = cluster_rows()
    block = block_of(fitted(tmp_path, rows)[0][0])
    fold = row_folds("history", block, "events", 1 << 20)
    first = [rows["events"][row].as_py().partition(",")[0] for row in block.row.tolist()]
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
    assert "columns.group" in caplog.text
    assert fields.statistics[-1].column.startswith("similarities")
    assert np.isnan(statistics(train, fields)[:, -3:]).all()
    assert fitted(tmp_path / "by_period", cut, period=np.arange(ROWS) % 4)[1].item_vectors


def test_one_history_in_many_rows_is_no_sign_of_a_cut(tmp_path: Path) -> None:
    rows = cluster_rows()
    events = [*rows["events"].to_pylist()[:-100], *["3,7,11,15,19,3,7,11,15"] * 100]
    assert fitted(tmp_path, with_columns(rows, events=events))[1].item_vectors


def test_boosting_learns_by_similarities_and_its_file_has_their_vectors(tmp_path: Path) -> None:
    to_train_h5(tmp_path, cluster_rows(600), columns=COLUMNS, valid_rows=range(400, 600))
    fields = fit_feature_map([tmp_path / "train.h5"], COLUMNS, 1)
    fields.write(tmp_path / "feature_map.json")
    sets: dict[str, Any] = {"features": ["similarities"]}
    config = BoostingConfig(trees=30, learning_rate=0.3, min_child_weight=1, bags=1, **sets)
    outputs = run_job(tmp_path, tmp_path / "out", {"boosting": config.values()})
    assert read_json(outputs["training"])["valid_auc"] > 0.9
    assert load(outputs["model"]).about.feature_map == fields


def test_items_of_a_cluster_are_near_each_other_and_lonely_ones_have_no_vector() -> None:
    texts = cluster_rows(2_000)["events"].to_pylist()
    # The codes of a cluster are 3 + its number and every fourth.
    histories = [[3 + event for event in split_events(text)] for text in texts]
    vectors = vectors_of([*histories, [3 + ITEMS], [3 + ITEMS]], 8 + ITEMS)[3:]
    assert not vectors[ITEMS:].any()
    cosine = vectors[:ITEMS] @ vectors[:ITEMS].T
    assert cosine.diagonal() == pytest.approx(1)
    cluster = np.arange(ITEMS) % CLUSTERS
    is_near = cluster[:, None] == cluster
    assert cosine[is_near].min() > 0.3 > 0.1 > np.abs(cosine[~is_near]).max()


def test_pairs_are_counted_within_the_window() -> None:
    rows = [np.random.default_rng(0).integers(3, 8, 100).tolist(), [], [7], [4, 5]]
    expected = np.zeros((2, 2))
    for row in rows:
        for i, one in enumerate(row):
            for two in row[i + 1 : i + 1 + 20]:
                if one != two and {one, two} <= {4, 5}:
                    expected[one - 4, two - 4] += 1
    assert (counted(rows, range(4, 6)) == expected).all()


def test_histories_are_cut_if_their_lengths_pile_up() -> None:
    rng = np.random.default_rng(0)
    # Each user's rows are as many, so that as many histories have each length.
    grown = np.tile(np.arange(12), 50)
    for lengths in (grown, rng.poisson(12, 5_000), rng.geometric(0.1, 5_000)):
        cut = [are_truncated(np.minimum(lengths, newest)) for newest in (2, 5, 10, 1_000)]
        assert cut == [True, True, True, False]
    assert not are_truncated(np.zeros(5_000, int))
