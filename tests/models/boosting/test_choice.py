"""Features and leaves that lower the logloss of held-out rows; click rates by plain loops."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.jobs import run_job
from support.learnable import learnable_table, make
from support.raw_tables import COLUMNS, ragged, raw_table, with_roles
from tossctr.common.arrays import Ragged, hash_below
from tossctr.common.errors import UserError
from tossctr.common.files import read_json
from tossctr.config.names import FOLDS
from tossctr.datasets.opening import TrainAndValidation
from tossctr.features.fitting import fit_feature_map
from tossctr.models.boosting import choice, click_rates, train_trees
from tossctr.models.boosting.boosting import BoostingConfig
from tossctr.models.boosting.click_rates import ClickCounts, ClickRateSpec, mean_over_newest
from tossctr.models.boosting.tree_file import load


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "SHORT_RUN", choice.SHORT_RUN.model_copy(update={"trees": 30}))


def trained(data: Path, out: Path, files: dict[str, Any] | None = None, **settings: Any) -> Any:
    """What a training writes, and its model, with features chosen."""
    given = {"trees": 20, "max_depth": 3, "learning_rate": 0.3, "bags": 1} | settings
    outputs = run_job(data, out, {"boosting": BoostingConfig(**given).values()}, **files or {})
    return read_json(outputs["training"]) | {"model": load(outputs["model"])}


def test_sets_that_help_stay_and_a_refit_and_the_model_have_them(
    learnable: Path, tmp_path: Path
) -> None:
    training = trained(learnable, tmp_path / "first", bags=2)
    tried = {entry["what"]: entry for entry in training["tried"]}
    names = ["histories", "clicks"]  # there are no IDs
    assert list(tried)[:2] == [f"features {name}" for name in names]
    assert all(e["kept"] == (e["gain"] > e["error"] > 0) for e in (*tried.values(),)[:2])
    # Clicks follow one code of the histories.
    assert tried["features histories"]["gain"] > 0.05
    assert training["sets"] == [name for name in names if tried[f"features {name}"]["kept"]]
    assert "histories" in training["sets"]
    assert list(training["model"].features.sets) == training["sets"]
    rows, all_rows = (
        TrainAndValidation(learnable / "train.h5", learnable / "valid.h5"),
        tmp_path / "all.json",
    )
    fit_feature_map(rows, COLUMNS, 1).write(all_rows)
    files = {"refit_of": tmp_path / "first/training.json", "feature_map": all_rows}
    again = trained(learnable, tmp_path / "refit", files, bags=2)
    assert len(training["trees"]) == 2
    for run in (training, again):
        for booster in run["model"].boosters:
            covers = booster.trees_to_dataframe()["Cover"]
            assert covers.min() >= run["min_child_weight"]
    for name in ("sets", "min_child_weight", "tried", "features", "trees", "valid_auc"):
        assert again[name] == training[name]


@pytest.mark.parametrize(
    ("held_out_by", "most", "rows"),
    [("", 2700, 3000), ("", 200, 300), ("period", 2700, 300), ("fold", 2700, 300)],
)
def test_train_rows_choose_sets_too_where_few_rows_like_them_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_out_by: str, most: int, rows: int
) -> None:
    monkeypatch.setattr(choice, "_FOLDED_ROWS", most)
    monkeypatch.setattr(choice, "SHORT_RUN", choice.SHORT_RUN.model_copy(update={"trees": 2}))
    # As by a split, where train rows may all be of one period, or groups of one fold.
    numbers = {held_out_by: (np.arange(3000) < 300).astype(np.uint8)} if held_out_by else {}
    make(tmp_path, learnable_table(), valid_rows=range(300), **numbers)
    training = trained(tmp_path, tmp_path / "out", trees=2)
    tried = {entry["rows"] for entry in training["tried"] if "features" in entry["what"]}
    assert tried == {rows}


@pytest.mark.parametrize("tells", [True, False])
def test_ids_alone_are_learned_from_where_they_tell_of_clicks(tmp_path: Path, tells: bool) -> None:
    person = np.arange(3000) % 100
    y = (person % 4 == 0) if tells else np.random.default_rng(0).random(3000) < 0.25
    table = raw_table(3000, item=[f"p{i}" for i in person], y=y.astype(np.int8))
    columns = with_roles(sequences=(), targets=(), numeric=(), profile=("item",))
    make(tmp_path, table, columns=columns)
    if tells:
        training = trained(tmp_path, tmp_path)
        assert training["sets"] == ["ids"]
        assert training["valid_auc"] == 1
    else:
        with pytest.raises(UserError, match=r"boosting\.features"):
            trained(tmp_path, tmp_path)


def tastes() -> dict[str, np.ndarray]:
    """50 rows of each of 60 people, who click by their tastes, of which prices tell."""
    random = np.random.default_rng(2)
    taste = np.repeat(2 * random.normal(size=60), 50)
    return {
        "item": np.repeat([f"p{i}" for i in range(60)], 50),
        "price": taste + random.normal(size=3000),
        "y": (random.random(3000) < 1 / (1 + np.exp(1 - taste))).astype(np.int8),
    }


@pytest.mark.parametrize("returns", [True, False])
def test_click_rates_of_who_does_not_return_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returns: bool
) -> None:
    monkeypatch.setattr(train_trees, "oov_rates", lambda *_: {})
    order = np.random.default_rng(2).permutation(3000) if returns else np.arange(3000)
    columns = {name: values[order] for name, values in tastes().items()}
    make(tmp_path, raw_table(3000, **columns), valid_rows=range(1900, 3000))
    training = trained(tmp_path, tmp_path / "out", min_child_weight=1)
    assert ("clicks" in training["sets"]) == returns


def test_an_id_that_is_new_in_validation_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings, settings = {}, {"features": ["histories", "clicks", "ids"], "min_child_weight": 1}
    for name, item in (("auto", {}), ("none", {"item": ["x"] * 3000}), ("trusted", {})):
        table = raw_table(3000, **tastes() | item)
        make(tmp_path / name, table, valid_rows=range(1900, 3000))
        trainings[name] = trained(tmp_path / name, tmp_path / name, **settings)
        monkeypatch.setattr(train_trees, "oov_rates", lambda *_: {})
    auc = {name: training["valid_auc"] for name, training in trainings.items()}
    assert auc["trusted"] + 0.02 < auc["none"] < auc["auto"] + 0.01
    assert trainings["auto"]["oov_rates"]["item"] == 1


@pytest.mark.parametrize("is_sure", [True, False])
def test_leaves_are_as_small_as_the_rows_can_fill(tmp_path: Path, is_sure: bool) -> None:
    random = np.random.default_rng(0)
    level = random.integers(0, 60, 3000)  # 2,000 train rows: some 33 of each
    chance = np.where(random.random(60) < 0.5, 0.02, 0.98)[level] if is_sure else np.full(3000, 0.5)
    y = (random.random(3000) < chance).astype(np.int8)
    table = raw_table(3000, y=y, price=level.astype(float))
    many, few = (
        trained(make(tmp_path / f"{rows}", table, valid_rows=range(rows, 3000)), tmp_path, **given)
        for rows, given in ((2000, {"features": []}), (100, {}))
    )
    assert (many["min_child_weight"] < 20) == is_sure
    # A tenth of what 100 rows have, which two thirds of them could not fill as well.
    assert few["min_child_weight"] < 2.5
    assert all("features" in entry["what"] and entry["error"] > 0 for entry in few["tried"])


def counted_rows() -> tuple[Any, ...]:
    """Folds, histories of 7 tokens, 3 targets, labels; counters of tokens by target, and counts."""
    random = np.random.default_rng(1)
    histories = [random.integers(0, 7, random.integers(0, 13)).tolist() for _ in range(300)]
    label = (random.random(300) < 0.3).astype(np.int64)
    fold, target = hash_below(np.arange(300), FOLDS), random.integers(0, 3, 300)
    by_target = ClickRateSpec("", "clicks", field_index=0, size=7, sequence=0, target_count=3)
    counters = by_target.counters_of(target[:, None], [ragged(histories, np.int64)])
    counts = ClickCounts(21, FOLDS)
    counts.add(fold, counters, label)
    return fold, histories, target, label, counters, counts


def test_log_odds_are_those_of_a_plain_count_over_other_or_older_folds() -> None:
    *rows, _, counts = counted_rows()
    events = [(f, 7 * t + token, y) for f, tokens, t, y in zip(*rows) for token in tokens]
    rate = (sum(y for *_, y in events) + 0.5) / (len(events) + 1)
    added = counts.prior_count
    own, older = counts.out_of_fold_log_odds(), counts.ordered_log_odds()
    cases = [({*range(FOLDS)}, counts.full_log_odds()[0]), (set(), older[0])]
    for number in (1, 3, 4):
        cases += [({*range(FOLDS)} - {number}, own[number]), ({*range(number)}, older[number])]
    for counting, log_odds in cases:
        for index in (0, 10, 20):
            seen = [y for f, p, y in events if f in counting and p == index]
            odds = (sum(seen) + added * rate) / (len(seen) - sum(seen) + added * (1 - rate))
            expected = np.log(odds) - np.log(rate / (1 - rate))
            assert log_odds[index] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_counters_get_as_many_occurrences_as_their_rates_are_alike() -> None:
    random, rate, more = np.random.default_rng(0), 0.02, 200
    ids = np.repeat(np.arange(2000), 100)
    each, fold = Ragged(ids, np.arange(len(ids) + 1)), random.integers(0, FOLDS, len(ids))
    # By definition, a beta prior is worth that many occurrences.
    chance = random.beta(rate * more, (1 - rate) * more, 2000)[ids]
    # The others are of one rate, in all rows or in each fold.
    chances = np.stack([chance, np.full(len(ids), rate), fold / 20])
    prior_counts = []
    for label in (random.random(chances.shape) < chances).astype(np.int64):
        counts = ClickCounts(2000, FOLDS)
        counts.add(fold, each, label)
        prior_counts.append(counts.prior_count)
    assert prior_counts[0] == pytest.approx(more, rel=0.4)
    assert min(prior_counts[1:]) > 5 * more


def test_means_over_the_newest_are_those_of_a_plain_loop() -> None:
    fold, histories, target, _, counters, counts = counted_rows()
    table = counts.out_of_fold_log_odds()
    means = mean_over_newest(table, fold, counters.values, counters.offsets, np.array([1, 4, 99]))
    for row, tokens in enumerate(histories):
        values = [table[fold[row], 7 * target[row] + token] for token in reversed(tokens)]
        expected = [np.mean(values[:n]) if values else np.nan for n in (1, 4, 99)]
        np.testing.assert_allclose(means[row], expected, rtol=1e-5, atol=1e-7)


def test_too_many_pairs_share_counters() -> None:
    tokens, target = np.random.default_rng(0).integers(0, 1 << 12, (2, 20_000))
    pairs = ClickRateSpec("", "clicks", field_index=0, size=4096, sequence=0, target_count=4096)
    counters = pairs.counters_of(target[:, None], [Ragged(tokens, np.arange(20_001))]).values
    assert pairs.counter_count == click_rates.MAX_COUNTERS > counters.max()
    # As many as so many balls in so many boxes leave alone.
    assert len(np.unique(counters)) > 19_600
