"""Similarities of targets and histories: vectors of other rows, columns of all rows, a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.common.files import read_json
from feseq.config.names import FOLDS
from feseq.families.boosting.model_file import load
from feseq.families.boosting.settings import BoostingConfig
from feseq.features.co_occurrence import CoOccurrences, item_vectors
from feseq.features.encoding import FeatureEncoder
from feseq.features.extension import extended
from feseq.features.feature_map import FeatureMap
from feseq.features.fitting import fit_feature_map
from feseq.features.item_vectors import folds
from feseq.storage.store import H5Table
from support.jobs import run_job
from support.raw_tables import ragged, raw_table, to_train_h5, with_roles

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
    return np.concatenate([np.zeros((3, 24)), item_vectors(counts.counts[0])])


def cosines(history: list[int], target: int, vectors: np.ndarray) -> list[float]:
    events = [vectors[code] for code in history if vectors[code].any()]
    item = vectors[target]
    if not events or not item.any():
        return [np.nan] * 3
    mean, each = np.sum(events, axis=0), [event @ item for event in events]
    return [mean @ item / np.linalg.norm(mean), each[-1], max(each)]


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
    with H5Table(train) as table:
        block, rows = table.read(0, table.rows), np.arange(table.rows)
        fold = folds(what, block, rows, ragged(train_histories), FOLDS)
    of_fold = {FOLDS: vectors_of(train_histories, size)}
    for number in range(FOLDS):
        is_other = fold < number if what == "period" else fold != number
        some = [row for row, other in zip(train_histories, is_other) if other]
        of_fold[number] = vectors_of(some, size)
    # A model's file has the vectors for other rows alone.
    for path, of_row, feature_map in (
        (train, fold, fields),
        (valid, np.full(VALID, FOLDS), fields),
        (valid, np.full(VALID, FOLDS), fields.for_other_rows()),
        (train, np.full(len(fold), FOLDS), fields.for_other_rows()),
    ):
        histories, target = codes(path, fields)
        with H5Table(path) as table:
            encoder, rows = FeatureEncoder(feature_map, table), np.arange(table.rows)
            told = encoder.statistics_of(table.read(0, table.rows), rows)[:, -3:]
        for history, item, number, values in zip(histories, target, of_row, told, strict=True):
            expected = cosines(history, item, of_fold[number])
            assert values == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_a_fold_that_no_vectors_are_for_is_refused(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, FOLDS, ROWS)
    (train, _), fields = fitted(tmp_path, cluster_rows(), period=numbers)
    (items,) = fields.item_vectors
    fewer = items.of("events", "period", items.codes, items.vectors[1:, 1:])
    with H5Table(train) as table:
        encoder = FeatureEncoder(replace(fields, item_vectors=[fewer]), table)
        with pytest.raises(UserError, match="4 folds"):
            encoder.statistics_of(table.read(0, table.rows), np.arange(table.rows))


def test_histories_that_begin_alike_are_in_one_fold(tmp_path: Path) -> None:
    (train, _), _ = fitted(tmp_path, cluster_rows())
    with H5Table(train) as table:
        block = table.read(0, 6)
    histories = ragged([[5, 6], [5], [7, 5], [], [7], []])
    fold = folds("history", block, np.arange(6), histories, 1 << 20).tolist()
    assert fold[:3] == [fold[1], fold[0], fold[4]]
    assert fold[3] == fold[5]
    assert len({*fold}) == 3


def test_newer_rows_bring_their_vectors(tmp_path: Path) -> None:
    _, old = fitted(tmp_path / "old", cluster_rows(items=12))
    _, new = fitted(tmp_path / "new", cluster_rows(seed=1))
    both = FeatureMap.from_dict(extended(old, new).to_dict())
    for word in new.targets[0].vocabulary:
        by_map = []
        for fields in (new, both):
            code = 3 + fields.targets[0].vocabulary.index(word)
            (items,) = fields.item_vectors
            by_map.append(items.vectors[:, items.places(fields.sequences[0].size)[code]])
        assert np.array_equal(*by_map)


def test_vectors_that_no_rows_give_are_refused(tmp_path: Path) -> None:
    _, fields = fitted(tmp_path, cluster_rows())
    (items,) = fields.item_vectors
    for damaged in (
        {"codes": items.codes[1:]},
        {"codes": [*items.codes[:-1], 10**6]},
        {"codes": items.codes[::-1]},
        {"codes": []},
        {"sequence": "other"},
        {"fold_of": "row"},
        {"data": items.data[4:]},
        {"data": "!" + items.data[1:]},
        {"data": "AADAfw==" * (len(items.data) // 8)},
    ):
        changed = replace(fields, item_vectors=[replace(items, **damaged)])
        with pytest.raises((LookupError, TypeError, ValueError)):
            FeatureMap.from_dict(changed.to_dict())


def test_boosting_learns_by_similarities_and_its_file_has_their_vectors(tmp_path: Path) -> None:
    to_train_h5(tmp_path, cluster_rows(), columns=COLUMNS, valid_rows=range(400, ROWS))
    fields = fit_feature_map([tmp_path / "train.h5"], COLUMNS, 1)
    fields.write(tmp_path / "feature_map.json")
    auc = {}
    for sets in ([], ["similarities"]):
        config = BoostingConfig(trees=30, learning_rate=0.3, min_child_weight=1, features=sets)
        outputs = run_job(tmp_path, tmp_path / f"{len(sets)}", {"boosting": config.values()})
        auc[len(sets)] = read_json(outputs["training"])["valid_auc"]
    assert auc[1] > auc[0] + 0.2
    assert load(outputs["model"]).about.feature_map == fields.for_other_rows()
    (items,) = fields.item_vectors
    replace(fields, item_vectors=[replace(items, codes=[])]).write(tmp_path / "feature_map.json")
    with pytest.raises(UserError, match=r"feature_map\.json"):
        FeatureMap.read(tmp_path / "feature_map.json")
