"""Boosting from H5 files to predictions: features, the streamed matrix, the model and its file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from support.jobs import run_job
from support.learnable import ROWS, learnable_table, make
from support.raw_tables import raw_table, split_events
from support.trainings import end_at, ended_at
from tossctr.common.errors import UserError
from tossctr.common.files import read_json
from tossctr.config.names import FOLDS
from tossctr.datasets.store import H5Table
from tossctr.datasets.table import Table
from tossctr.features.encoding import FeatureEncoder
from tossctr.features.feature_map import MISSING, OUT_OF_VOCABULARY, FeatureMap
from tossctr.models.boosting import boosting, train_trees, trees
from tossctr.models.boosting import features as features_module
from tossctr.models.boosting.boosting import BoostingConfig
from tossctr.models.boosting.features import FeatureBuilder, fit_features, replace_with_oov
from tossctr.models.boosting.tree_file import load
from tossctr.models.boosting.trees import quantile_matrix
from tossctr.predict.model_predictions import predict_validation

SMALL = BoostingConfig(
    trees=30,
    min_child_weight=1,
    learning_rate=0.3,
    max_depth=3,
    features=["histories", "clicks", "ids"],
    bags=1,
)


@pytest.fixture(scope="module", autouse=True)
def stops_early() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "EARLY_STOPPING", 5)
        yield


def train(data: Path, out: Path, config: BoostingConfig = SMALL) -> dict[str, Path]:
    return run_job(data, out, {"boosting": config.values()})


@pytest.fixture(scope="module")
def trained(learnable: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return train(learnable, tmp_path_factory.mktemp("trained"))


def matrices(h5: Path, features: FeatureBuilder) -> np.ndarray:
    with H5Table(h5) as table:
        encoder = FeatureEncoder(features.feature_map, table)
        return np.concatenate([features.matrix(encoder, b) for b in table.blocks()])


def by_name(h5: Path, features: FeatureBuilder) -> dict[str, np.ndarray]:
    return dict(zip(dict(features.columns()), matrices(h5, features).T, strict=True))


def test_features_are_those_of_plain_loops(
    learnable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "block_rows", 700)
    monkeypatch.setattr(features_module, "TOP_CODES", 4)
    with H5Table(learnable / "train.h5") as table:
        own, others = fit_features(table, FeatureMap.read(learnable / "feature_map.json"))
        row, label = table.column("row"), table.column("label")
    raw = learnable_table().take(row).to_pandas()
    features = by_name(learnable / "train.h5", others)
    assert len(features) == len(others.columns()) == matrices(learnable / "train.h5", own).shape[1]
    np.testing.assert_array_equal(features["price"], raw["price"].astype(np.float32))
    groups = raw.assign(label=label, clicks=features["clicks of country"]).groupby("country")
    assert (groups["clicks"].nunique() == 1).all()
    rate, clicks = groups["label"].mean(), groups["clicks"].first()
    assert rate.sort_values().index.equals(clicks.sort_values().index)
    events = [split_events(text) for text in raw["events"]]
    ((commonest, _),) = Counter(code for history in events for code in history).most_common(1)
    share = [history.count(commonest) / (len(history) + 10) for history in events]
    first, *others = [name for name in features if name.startswith("share of code")]
    np.testing.assert_allclose(features[first], share, rtol=1e-5)
    np.testing.assert_array_equal(features["length of events"], [*map(len, events)])
    assert len(others) == 3


def test_where_rows_have_a_time_their_clicks_are_of_older_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "MAX_CATEGORIES", 8)
    period = np.random.default_rng(3).integers(0, 4, 400)
    country = np.random.default_rng(4).choice(["a", "b", "c"], 400)
    make(tmp_path, raw_table(400, country=country), period=period)
    feature_map = FeatureMap.read(tmp_path / "feature_map.json")
    with H5Table(tmp_path / "train.h5") as train:
        row, label = train.column("row"), train.column("label")
        own, others = fit_features(train, feature_map, oov_rates={"country": 0.5, "item": 0.5})
        folds, _ = fit_features(train, feature_map, by_period=False)
    # A refit has what the first training had, though its rows have more periods.
    assert (own.by_period, folds.by_period) == (True, False)
    assert {len(each) for each in own.tables.values()} == {4}
    assert {len(each) for each in folds.tables.values()} == {FOLDS}
    # New items are in the counts already.
    assert own.oov_dropout is not None
    assert own.oov_dropout.tolist() == pytest.approx([0.5, 0])
    own = replace(own, oov_dropout=None)
    trained_on, later = (by_name(tmp_path / "train.h5", each) for each in (own, others))
    period, country = period[row], country[row]
    for name in "abc":
        for number in range(4):
            of_period = trained_on["clicks of country"][(country == name) & (period == number)]
            older = label[(country == name) & (period < number)]
            # Above 0 where more than the mean are clicks.
            expected = np.sign(older.mean() - label.mean()) if number else 0
            assert {*np.sign(of_period.round(5))} == {expected}
            assert len({*of_period}) == 1
        assert len({*later["clicks of country"][country == name]}) == 1


def test_bins_are_those_of_the_first_rows_and_know_categories_that_come_later(
    learnable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "SAMPLE_ROWS", 20)
    monkeypatch.setattr(Table, "block_rows", 60)
    feature_map = FeatureMap.read(learnable / "feature_map.json")
    with H5Table(learnable / "train.h5") as table:
        own, _ = fit_features(table, feature_map)
        binned = quantile_matrix(table, own, threads=2)
        assert binned.num_row() == table.rows
    bins = dict(zip(dict(own.columns()), np.diff(binned.get_quantile_cut()[0]), strict=True))
    sizes = {field.column: field.size for field in (*feature_map.profile, *feature_map.targets)}
    assert {name: bins[name] for name in sizes} == sizes
    assert bins["price"] <= 22


def test_it_learns_what_there_is_and_its_files_say_how(
    learnable: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    predictions = tmp_path / "valid.parquet"
    predict_validation(trained["model"], learnable / "valid.h5", predictions, threads=2)
    table = pd.read_parquet(predictions)
    auc = roc_auc_score(table["label"], table["logit"])
    assert auc > 0.85
    # Price and country are left.
    assert 0.6 < roc_auc_score(table["label"], table["logit_ablated"]) < 0.8
    with H5Table(learnable / "valid.h5") as valid:
        assert table["row"].tolist() == valid.column("row").tolist()
    training, history = read_json(trained["training"]), pd.read_csv(trained["history"])
    assert training["valid_auc"] == pytest.approx(auc, abs=1e-6)
    assert training["train_rows"] + training["valid_rows"] == ROWS
    assert [*history] == ["tree", "auc", "average_precision", "logloss"]
    assert training["trees"] == [history["tree"][history["logloss"].idxmin()]]
    assert training["settings"]["max_depth"] == 3
    assert (training["sets"], training["tried"]) == (SMALL.features, [])


def test_bags_are_averaged_and_drawn_rows_stand_for_all(
    learnable: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    config = SMALL.model_copy(update={"negative_sampling_rate": 0.3, "bags": 2})
    files = train(learnable, tmp_path / "bags", config)
    model = load(files["model"])
    with H5Table(learnable / "train.h5") as rows, H5Table(learnable / "valid.h5") as valid:
        clicks = int(rows.column("label").sum())
        expected = clicks + round(0.3 * (rows.rows - clicks))
        click_rate, label = rows.column("label").mean(), valid.column("label")
        logit, whole = (each.predict(valid) for each in (model, load(trained["model"])))
    assert read_json(files["training"])["rows_per_epoch"] == expected
    # Among the drawn rows the odds are three times as high.
    assert (1 / (1 + np.exp(-logit))).mean() == pytest.approx(click_rate, rel=0.15)
    assert roc_auc_score(label, logit) > roc_auc_score(label, whole) - 0.03
    values = matrices(learnable / "valid.h5", model.features)
    given: dict[str, Any] = {"predict_type": "margin", "validate_features": False}
    of_bags = [booster.inplace_predict(values, **given) for booster in model.boosters]
    assert np.abs(of_bags[0] - of_bags[1]).mean() > 0.01
    np.testing.assert_array_equal(np.mean(of_bags, axis=0), logit)


def test_an_interrupted_training_keeps_its_bags_and_ends_like_an_uninterrupted_one(
    learnable: Path, tmp_path: Path
) -> None:
    config = SMALL.model_copy(update={"negative_sampling_rate": 0.3, "bags": 2})
    whole = train(learnable, tmp_path / "whole", config)
    with ended_at(train_trees, "fit", 2):
        train(learnable, tmp_path / "cut", config)
    with pytest.MonkeyPatch.context() as patch:
        grown = end_at(patch, train_trees, "fit", 0, None)
        cut = train(learnable, tmp_path / "cut", config)
    assert grown == [1]
    assert cut["model"].read_bytes() == whole["model"].read_bytes()
    assert cut["history"].read_bytes() == whole["history"].read_bytes()


@pytest.mark.filterwarnings("error")
def test_a_matrix_in_memory_or_a_file_gives_the_same_model_and_leaves_nothing(
    learnable: Path, trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = train(learnable, tmp_path / "again")
    assert again["model"].read_bytes() == trained["model"].read_bytes()
    monkeypatch.setattr(Table, "block_rows", 300)
    monkeypatch.setattr(trees, "PAGE_BLOCKS", 3)
    bags = SMALL.model_copy(update={"negative_sampling_rate": 0.3, "bags": 2})
    in_memory = train(learnable, tmp_path / "memory", bags)
    monkeypatch.setattr(trees, "MAX_IN_MEMORY", 0)
    outputs = train(learnable, tmp_path / "out", bags)
    assert outputs["model"].read_bytes() == in_memory["model"].read_bytes()
    # Rows of many blocks are those of the one block.
    small, whole = (read_json(each["training"])["valid_auc"] for each in (in_memory, trained))
    assert small > whole - 0.03
    assert {*(tmp_path / "out").iterdir()} == {*outputs.values(), tmp_path / "out/training_state"}


def test_rows_without_any_click_are_a_clear_error(tmp_path: Path) -> None:
    no_clicks = make(tmp_path, raw_table(40, y=[0] * 39 + [1]), valid_rows=[39])
    with pytest.raises(UserError, match=r"label is 0 in all rows \(39\).*raise the setting sizes"):
        train(no_clicks, tmp_path)


def test_a_gpu_is_asked_for_where_one_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for builds in ([], ["xgboost-cpu"]):
        monkeypatch.setattr(boosting, "distributions", lambda name, builds=builds: builds)
        assert boosting.KIND.gpus({}, "toy", "boosting") == 1 - len(builds)


def test_known_categories_are_drawn_as_unknown_at_their_share() -> None:
    random = np.random.default_rng(0)
    categories, row = random.integers(3, 50, (40_000, 3)), random.permutation(40_000)
    categories[random.random(40_000) < 0.2, 1] = MISSING
    share = np.array([0.25, 0.4, 0])
    drawn = replace_with_oov(categories, row, share)
    is_new = drawn == OUT_OF_VOCABULARY
    assert is_new.mean(axis=0).tolist() == pytest.approx([0.25, 0.8 * 0.4, 0], abs=0.01)
    np.testing.assert_array_equal(drawn[~is_new], categories[~is_new])
    # The same rows, in whatever order.
    np.testing.assert_array_equal(replace_with_oov(categories[::-1], row[::-1], share)[::-1], drawn)
    # The columns' draws are independent of each other, and of the folds.
    assert abs(np.corrcoef(is_new[:, 0], is_new[:, 1])[0, 1]) < 0.02
    assert abs(np.corrcoef(is_new[:, 0], row % 5 == 0)[0, 1]) < 0.02
