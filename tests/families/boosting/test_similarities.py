"""Similarities of boosting: vectors of other rows, features of all rows, the model's file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feseq.common import tensors
from feseq.common.errors import UserError
from feseq.common.files import read_json
from feseq.config.names import FOLDS
from feseq.families.boosting.features import Features, fit_features
from feseq.families.boosting.model_file import load
from feseq.families.boosting.settings import BoostingConfig
from feseq.features.encoding import FeatureEncoder
from feseq.features.fitting import fit_feature_map
from feseq.features.item_vectors import Together, similarities
from feseq.storage.block import Block
from feseq.storage.store import H5Table
from support.jobs import run_job
from support.raw_tables import ragged, raw_table, to_train_h5, with_roles

COLUMNS = with_roles(shared=("events",))
ROWS, ITEMS, CLUSTERS = 600, 20, 4


def cluster_rows(seed: int = 0) -> pa.Table:
    """Events of one cluster in a row; an item of it is clicked, and of another one is not."""
    rng = np.random.default_rng(seed)
    cluster, lengths = rng.integers(0, CLUSTERS, ROWS), rng.integers(0, 8, ROWS)
    item = rng.integers(0, ITEMS, ROWS)
    events = [
        c + CLUSTERS * rng.integers(0, ITEMS // CLUSTERS, n) for c, n in zip(cluster, lengths)
    ]
    return raw_table(
        ROWS,
        events=[",".join(map(str, row)) for row in events],
        item=item.astype(str).tolist(),
        y=((item % CLUSTERS == cluster) & (rng.random(ROWS) < 0.9)).astype(np.int8),
    )


def fitted(folder: Path, **arrays: Any) -> tuple[Path, Features, Features]:
    path, _ = to_train_h5(folder, cluster_rows(), columns=COLUMNS, valid_rows=range(5), **arrays)
    feature_map = fit_feature_map(path, COLUMNS, 1)
    with H5Table(path) as train:
        return path, *fit_features(train, feature_map, ["similarities"])


def whole(path: Path, features: Features) -> tuple[Block, list[np.ndarray], np.ndarray]:
    """All rows, the codes of each history and each row's target."""
    with H5Table(path) as train:
        encoder, block = FeatureEncoder(features.feature_map, train), train.read(0, train.rows)
        (history,) = features._histories(encoder, block)
        target = encoder.categories(block)[:, len(features.feature_map.profile)]
    return block, np.split(history.values, history.offsets[1:-1]), target


def by_hand(histories: list[np.ndarray], size: int) -> np.ndarray:
    counts = Together(np.arange(3, size), size, 1)
    counts.add(np.zeros(len(histories), np.int64), ragged([row.tolist() for row in histories]))
    return counts.of_all().vectors[0]


@pytest.mark.parametrize("what", ["period", "fold", ""])
def test_vectors_are_of_other_rows(tmp_path: Path, what: str) -> None:
    numbers = np.random.default_rng(1).integers(0, 4, ROWS)
    path, train, others = fitted(tmp_path, **({what: numbers} if what else {}))
    block, histories, target = whole(path, train)
    size = train.feature_map.sequences[0].size
    assert np.array_equal(others.vectors["events"].vectors[0], by_hand(histories, size))
    vectors = train.vectors["events"]
    assert len(vectors.vectors) == (4 if what == "period" else FOLDS)
    if what:
        fold = numbers[block.row]
    else:
        # Histories that begin alike are in one fold.
        first = np.array([row[0] if len(row) else 0 for row in histories])
        fold = train.similarities.fold(block, ragged([row.tolist() for row in histories]), FOLDS)
        assert all(len({*fold[first == code]}) == 1 for code in {*first})
        assert len({*fold}) > 1
    for number in {*fold}:
        is_other = fold < number if what == "period" else fold != number
        some = [row for row, other in zip(histories, is_other) if other]
        assert np.array_equal(vectors.vectors[number], by_hand(some, size))
    names = [name for name, _ in train.columns()]
    places = [i for i, name in enumerate(names) if name.startswith("similarity of item and events")]
    with H5Table(path) as table:
        matrix = train.matrix(FeatureEncoder(train.feature_map, table), block)
    rows = ragged([row.tolist() for row in histories])
    expected = similarities(vectors, fold.astype(np.int64), rows, target)
    assert np.array_equal(matrix[:, places], expected, equal_nan=True)


def test_similar_items_are_clicked_and_the_model_s_file_has_their_vectors(tmp_path: Path) -> None:
    to_train_h5(tmp_path, cluster_rows(), columns=COLUMNS, valid_rows=range(400, ROWS))
    fit_feature_map([tmp_path / "train.h5"], COLUMNS, 1).write(tmp_path / "feature_map.json")
    auc = {}
    for sets in ([], ["similarities"]):
        config = BoostingConfig(trees=30, learning_rate=0.3, min_child_weight=1, features=sets)
        outputs = run_job(tmp_path, tmp_path / f"{len(sets)}", {"boosting": config.values()})
        auc[len(sets)] = read_json(outputs["training"])["valid_auc"]
    assert auc[1] > auc[0] + 0.2
    content = tensors.load(outputs["model"])
    items = content["vectors"]["events"]
    place, vectors = items["place"], items["vectors"]
    for damaged in (
        {"vectors": vectors[:, 1:]},
        {"vectors": np.where(vectors > 0, np.nan, vectors)},
        {"vectors": vectors.astype("f8")},
        {"place": place[1:]},
        {"place": place - 1},
    ):
        changed = {**content, "vectors": {"events": items | damaged}}
        tensors.save(changed, tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=r"model\.safetensors"):
            load(tmp_path / "model.safetensors")
