"""The simulated stand-in: its files, users and statistics, and the click model behind them."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tossctr.common.arrays import Ragged
from tossctr.evaluate.metric_table import mean_metric
from tossctr.simulation import click_model, sequences, simulated_columns, users
from tossctr.simulation.simulated_columns import ADVERT_COLUMNS
from tossctr.simulation.stand_in import simulate_split
from tossctr.simulation.statistics import (
    category_values,
    click_rate,
    load_statistics,
    missing_shares,
)

ROWS, TEST_ROWS, SEED, MEAN_LENGTH = 20_000, 4_000, 7, 50.0
# By name: train, test, and the truth of each.
Simulated = dict[str, pd.DataFrame]


def simulate(folder: Path, name: str, **settings: Any) -> None:
    """Small files of this name."""
    parquet, truth = folder / f"{name}.parquet", folder / f"{name}_truth.parquet"
    defaults: dict[str, Any] = {"split": "train", "mean_length": 20.0, "chunk_rows": 200}
    simulate_split(parquet, truth, **defaults | settings)


@pytest.fixture(scope="session")
def simulated(shared: Callable[..., Path]) -> Simulated:
    """A train file of 20,000 rows, a test file of 4,000, and their truth."""

    def make(folder: Path) -> None:
        size = {"mean_length": MEAN_LENGTH, "seed": SEED, "chunk_rows": 8_000}
        simulate(folder, "train", rows=ROWS, **size)
        simulate(folder, "test", split="test", rows=TEST_ROWS, train_rows=ROWS, **size)

    files = shared("simulated", make).glob("*.parquet")
    return {path.stem: pd.read_parquet(path) for path in files}


@pytest.fixture(scope="module")
def long_rows() -> click_model.RowInputs:
    """24,000 train rows of the real mean length, by a stream that no file uses."""
    rows, mean_length = 24_000, sequences.REAL_MEAN
    strangers = users.new_users(314, rows)
    day = simulated_columns.day_of(np.arange(rows), rows)
    return click_model.draw_rows(np.random.default_rng(314), strangers, day, mean_length)


def parsed(rows: pd.DataFrame) -> click_model.RowInputs:
    """The columns and histories of a file, as they were drawn."""
    drawn = {name: rows[name].to_numpy() for name in rows.select_dtypes("float32")}
    for name in simulated_columns.CATEGORIES:
        drawn[name] = pd.Categorical(rows[name], category_values(name)).codes
    day = drawn["day_of_week"] if "clicked" in rows else simulated_columns.TEST_DAY
    drawn["calendar_day"] = np.full(len(rows), day)
    events = pc.split_pattern(pa.array(rows["seq"], pa.string()), ",")
    tokens = pc.index_in(events.flatten(), pa.array(sequences.vocabulary())).to_numpy()
    histories = Ragged(tokens.astype(np.uint16), events.offsets.to_numpy().astype(np.int64))
    return click_model.RowInputs(drawn, histories, MEAN_LENGTH)


def test_the_files_have_the_columns_and_types_of_the_real_ones(simulated: Simulated) -> None:
    train, test = simulated["train"], simulated["test"]
    assert list(train) == load_statistics()["column_order"]
    texts = {"gender", "age_group", "inventory_id", "day_of_week", "hour", "seq"}
    types = train.dtypes.drop([*texts, "clicked"])
    assert (types == np.float32).all()
    assert len(types) == 75 + 37
    assert train["clicked"].dtype == np.int64
    assert all(isinstance(train[name].dropna()[0], str) for name in texts)
    assert list(test) == ["ID", *(name for name in train if name != "clicked")]
    assert list(test["ID"]) == [f"TEST_{row:07d}" for row in range(TEST_ROWS)]
    assert {*test["day_of_week"]} == {"7"}
    # The truth lies apart, in the same order.
    assert list(simulated["train_truth"]["row"]) == list(range(ROWS))
    assert simulated["test_truth"]["ID"].equals(test["ID"])


def test_click_rates_of_days_are_the_measured_ones_and_labels_follow_them(
    simulated: Simulated,
) -> None:
    for split, rate in (("train", click_rate()), ("test", 27_298 / 1_527_298)):
        for name in ("probability", "probability_of_new_user"):
            probability = simulated[f"{split}_truth"][name]
            tolerance = 5 * probability.std() / np.sqrt(len(probability))
            assert probability.mean() == pytest.approx(rate, abs=tolerance), name
    rows = simulated["train"].assign(probability=simulated["train_truth"]["probability"])
    assert rows["day_of_week"].is_monotonic_increasing
    days = rows.groupby("day_of_week")
    rates = pd.Series(load_statistics()["categories"]["day_of_week"]["click_rate"])
    np.testing.assert_allclose(days["probability"].mean(), rates, rtol=0.2)
    others = (rows["clicked"] == 0).groupby(rows["day_of_week"]).sum()
    np.testing.assert_allclose(others, others.sum() / 7, rtol=0.01)
    clicked, probability = rows["clicked"].to_numpy(), rows["probability"].to_numpy()
    order = np.argsort(probability)
    for part in [*np.array_split(order, 5)[1:], order[-400:]]:
        deviation = np.sqrt((probability[part] * (1 - probability[part])).sum())
        assert abs(clicked[part].sum() - probability[part].sum()) < 4 * deviation


def test_users_come_back_with_all_that_is_their_own(simulated: Simulated) -> None:
    """10,704,179 rows have 7,179,942 sequences; texts below ten events are equal by chance."""
    train, test = simulated["train"], simulated["test"]
    long_train, long_test = (rows[rows["seq"].str.count(",") >= 9] for rows in (train, test))
    assert len(long_train) / long_train["seq"].nunique() == pytest.approx(1.491, abs=0.03)
    is_last = long_train["day_of_week"] == "7"
    on_last_day = long_train["seq"][is_last].isin(long_train["seq"][~is_last]).mean()
    assert 0.1 < long_test["seq"].isin(long_train["seq"]).mean() < 0.2 < on_last_day < 0.4
    own = [
        "seq",
        "gender",
        "age_group",
        *{*simulated_columns.numeric_user_columns()} - {"feat_e_3"},
    ]
    of_user = train.groupby(users.train_users(SEED, np.arange(ROWS)))
    assert (of_user[own].nunique(dropna=False) == 1).all(axis=None)
    assert (train["hour"] != of_user["hour"].transform("first")).mean() > 0.2


def test_rows_depend_on_the_seed_and_not_on_how_many_follow(tmp_path: Path) -> None:
    """But for what depends on the day, which their number sets."""
    files = {"a": (400, 5), "again": (400, 5), "other": (400, 6), "longer": (900, 5)}
    for name, (rows, seed) in files.items():
        simulate(tmp_path, name, rows=rows, seed=seed)
    for ending in (".parquet", "_truth.parquet"):
        one, two, three = ((tmp_path / f"{n}{ending}").read_bytes() for n in [*files][:3])
        assert one == two != three
    of_day = ["day_of_week", *ADVERT_COLUMNS, "clicked"]
    longer = pq.read_table(tmp_path / "longer.parquet")
    short = pq.read_table(tmp_path / "a.parquet").drop_columns(of_day)
    assert longer.slice(0, 400).drop_columns(of_day).equals(short)
    # Chunks have users of their own.
    assert not longer["seq"].slice(0, 200).equals(longer["seq"].slice(200, 200))


def test_categories_and_missing_blocks_follow_the_statistics(simulated: Simulated) -> None:
    """77 columns in 17,208 of 10,704,179 rows, 18 feat_a_* in 18,598, feat_e_3 in 1,085,557."""
    train = simulated["train"]
    for name in ("gender", "age_group", "inventory_id", "hour"):
        shares = pd.Series(load_statistics()["categories"][name]["shares"])
        measured = train[name].value_counts(normalize=True)
        assert {*measured.index} <= {*shares.index}
        measured = measured.reindex(shares.index, fill_value=0)
        np.testing.assert_allclose(measured, shares / shares.sum(), atol=0.012)
    missing = {name: train[name].isna() for name in train}
    for name, count, share in (
        ("gender", 77, 0.0016076),
        ("feat_a_1", 18, 0.0017374),
        ("feat_e_3", 1, 0.1014144),
        ("seq", 23, 0),
    ):
        assert sum(missing[name].equals(other) for other in missing.values()) == count
        # A user's rows are missing together: two rows say little more than one.
        assert missing[name].mean() == pytest.approx(share, abs=6 * np.sqrt(share / ROWS))


def test_numbers_follow_the_statistics(simulated: Simulated) -> None:
    numeric = load_statistics()["numeric"]
    level = np.array(load_statistics()["quantile_levels"])[1:-1]
    # The statistics count null as 0.
    values = {name: np.nan_to_num(simulated["train"][name].to_numpy()) for name in numeric}
    for name, value in values.items():
        measured, distinct = numeric[name], numeric[name]["distinct"]
        low, *inner, high = measured["quantiles"]
        if name not in load_statistics()["ids"]:
            assert (low - 1e-3 <= value.min(), value.max() <= high + 1e-3) == (True, True), name
        assert distinct > 100 or len(np.unique(value)) <= distinct + 1, name
        # They were measured on rows of which other shares are missing than in the file.
        more = np.subtract(*missing_shares(name))
        zeros = measured["zero_share"] + more
        chance = 5 * np.sqrt(zeros * (1 - zeros) / ROWS)
        assert (value == 0).mean() == pytest.approx(zeros, abs=chance + 0.001), name
        off = 0.015 + abs(more)
        for p, quantile, near in zip(level, inner, 1e-5 * np.abs(inner), strict=True):
            assert (value < quantile - near).mean() <= p + off, (name, p)
            assert (value <= quantile + near).mean() >= p - off, (name, p)
    index = [i for i, name in enumerate(numeric) if numeric[name]["distinct"] > 100]
    expected = np.array(load_statistics()["rank_correlation"])[np.ix_(index, index)]
    many = np.stack([values[list(numeric)[i]] for i in index])
    apart = np.abs(np.corrcoef(many.argsort(axis=1).argsort(axis=1)) - expected)
    # Adverts are drawn by level, which weakens the correlations of their columns.
    assert (apart.max() < 0.2, apart.mean() < 0.035) == (True, True)


def test_histories_follow_the_statistics(long_rows: click_model.RowInputs) -> None:
    """Published of the real file: lengths, codes in all places and at the end, distinct codes."""
    drawn = long_rows.sequences
    for level, value in ((0.25, 181), (0.5, 439), (0.75, 778), (0.9, 1122), (0.99, 1847)):
        assert np.quantile(drawn.lengths, level) == pytest.approx(value, rel=0.08)
    assert drawn.lengths.mean() == pytest.approx(sequences.REAL_MEAN, rel=0.03)
    size, share = len(sequences.vocabulary()), sequences.token_shares()
    assert size == 594
    realised = np.bincount(drawn.values, minlength=size) / len(drawn.values)
    np.testing.assert_allclose(realised[:15], share[:15], rtol=0.1)
    assert np.abs(realised - share).sum() / 2 < 0.06
    last = drawn.values[drawn.offsets[1:] - 1]
    for code, of_last in list(load_statistics()["sequence"]["last_token_share"].items())[:2]:
        measured = (last == sequences.vocabulary().index(code)).mean()
        assert measured == pytest.approx(of_last, rel=0.1)
    distinct = [len(np.unique(drawn.values[a:b])) for a, b in pairwise(drawn.offsets[:2_001])]
    assert np.mean(distinct) == pytest.approx(52.67, rel=0.1)


def test_a_new_users_probability_follows_from_the_file_and_a_known_ones_tells_more(
    simulated: Simulated,
) -> None:
    for split in ("train", "test"):
        logit = click_model.click_logit(parsed(simulated[split][:2_000]))
        expected = simulated[f"{split}_truth"]["probability_of_new_user"][:2_000]
        np.testing.assert_allclose(click_model.mean_click_probability(logit), expected, rtol=1e-4)
    truth = simulated["train_truth"]
    true, new_user = (truth[name].to_numpy() for name in truth.columns[1:])
    assert 0.77 < mean_metric("auc", true, true) < 0.80
    assert 0.01 < mean_metric("auc", true, true) - mean_metric("auc", new_user, true) < 0.05
    part = click_model.user_effect(users.train_users(SEED, np.arange(ROWS)))
    np.testing.assert_allclose(np.corrcoef(np.log(true / new_user), part)[0, 1], 1, atol=0.02)


def test_click_rates_are_the_published_ones(long_rows: click_model.RowInputs) -> None:
    """By value of the frequent categories, and by length, within four standard errors or 5 %."""
    assert all(effect.std() > 0.005 for effect in click_model.effect_values(long_rows).values())
    probability = click_model.mean_click_probability(click_model.click_logit(long_rows))
    spans = load_statistics()["sequence"]["click_rate_by_length"]
    span = np.searchsorted(click_model.length_intervals()[:, 1], long_rows.sequences.lengths)
    groups = {"length": (span, spans.values())}
    for name in ("gender", "age_group", "inventory_id", "day_of_week"):
        rates = load_statistics()["categories"][name]["click_rate"].values()
        groups[name] = long_rows.columns[name], rates
    for name, (group, rates) in groups.items():
        for value, rate in enumerate(rates):
            rows = probability[group == value]
            if len(rows) > 200:
                error = rows.std() / np.sqrt(len(rows))
                assert rows.mean() == pytest.approx(rate, rel=0.05, abs=4 * error), (name, value)
