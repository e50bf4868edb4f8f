"""The simulated stand-in: its files, users and statistics, and the click model behind them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tossctr.common.arrays import Ragged
from tossctr.evaluate.metric_table import expected_metric
from tossctr.simulation import click_model, sequences, simulated_columns, users
from tossctr.simulation.simulated_columns import AD_SET, ADVERT_COLUMNS, CREATIVE
from tossctr.simulation.stand_in import simulate_split
from tossctr.simulation.statistics import (
    category_values,
    click_rate,
    load_statistics,
    missing_shares,
)

ROWS, TEST_ROWS, SEED, MEAN_LENGTH = 20_000, 4_000, 7, 50.0
# By name: train, test, and the truth of each.
Simulated = dict[str, pa.Table]


def simulate(folder: Path, name: str, **settings: Any) -> tuple[Path, Path]:
    """Small files, and where they lie."""
    parquet, truth = folder / f"{name}.parquet", folder / f"{name}_truth.parquet"
    defaults: dict[str, Any] = {"split": "train", "rows": 600, "mean_length": 20.0, "seed": 1}
    simulate_split(parquet, truth, **{**defaults, "chunk_rows": 200, **settings})
    return parquet, truth


@pytest.fixture(scope="session")
def simulated(shared: Callable[..., Path]) -> Simulated:
    """A train file of 20,000 rows, a test file of 4,000, and their truth."""

    def make(folder: Path) -> None:
        size = {"mean_length": MEAN_LENGTH, "seed": SEED, "chunk_rows": 8_000}
        simulate(folder, "train", rows=ROWS, **size)
        simulate(folder, "test", split="test", rows=TEST_ROWS, train_rows=ROWS, **size)

    return {path.stem: pq.read_table(path) for path in shared("simulated", make).glob("*.parquet")}


@pytest.fixture(scope="module")
def long_rows() -> click_model.Rows:
    """24,000 train rows of the real mean length, by a stream that no file uses."""
    rows, mean_length = 24_000, sequences.REAL_MEAN
    strangers = users.strangers(314, rows)
    day = simulated_columns.train_day(np.arange(rows), rows)
    return click_model.draw_rows(np.random.default_rng(314), strangers, day, mean_length)


def parsed(table: pa.Table) -> click_model.Rows:
    """The columns and histories of a file, as they were drawn."""
    drawn = {
        name: pd.Categorical(table[name].to_pandas(), category_values(name)).codes
        for name in simulated_columns.CATEGORIES
    }
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    token_of = {code: token for token, code in enumerate(sequences.vocabulary())}
    rows = [[token_of[code] for code in text.split(",")] for text in table["seq"].to_pylist()]
    offsets = np.cumsum([0, *map(len, rows)])
    histories = Ragged(np.concatenate(rows).astype(np.uint16), offsets)
    day = drawn["day_of_week"] if "clicked" in table.schema.names else simulated_columns.TEST_DAY
    drawn["calendar_day"] = np.full(len(table), day)
    return click_model.Rows(
        drawn | {n: table[n].to_numpy() for n in numbers}, histories, MEAN_LENGTH
    )


def test_the_files_have_the_columns_and_types_of_the_real_ones(simulated: Simulated) -> None:
    schema, test = simulated["train"].schema, simulated["test"]
    assert schema.names == load_statistics()["column_order"]
    texts = {"gender", "age_group", "inventory_id", "day_of_week", "hour", "seq"}
    assert {field.name for field in schema if field.type == pa.string()} == texts
    assert {field.name for field in schema if field.type == pa.int64()} == {"clicked"}
    assert sum(field.type == pa.float32() for field in schema) == 75 + 37
    assert test.schema.names == ["ID", *(name for name in schema.names if name != "clicked")]
    assert test["ID"].to_pylist() == [f"TEST_{row:07d}" for row in range(TEST_ROWS)]
    assert test["day_of_week"].unique().to_pylist() == ["7"]
    # The truth lies apart, in the same order.
    assert simulated["train_truth"]["row"].to_pylist() == list(range(ROWS))
    assert simulated["test_truth"]["ID"].equals(test["ID"])


def test_click_rates_of_days_are_the_measured_ones_and_labels_follow_them(
    simulated: Simulated,
) -> None:
    for split, rate in (("train", click_rate()), ("test", 27_298 / 1_527_298)):
        for name in ("probability", "probability_of_new_user"):
            probability = simulated[f"{split}_truth"][name].to_numpy()
            tolerance = 5 * probability.std() / np.sqrt(len(probability))
            assert probability.mean() == pytest.approx(rate, abs=tolerance), name
    day = np.array(simulated["train"]["day_of_week"].to_pylist())
    assert list(day) == sorted(day)
    probability = simulated["train_truth"]["probability"].to_numpy()
    rates = load_statistics()["categories"]["day_of_week"]["click_rate"]
    measured = [probability[day == name].mean() for name in rates]
    np.testing.assert_allclose(measured, list(rates.values()), rtol=0.2)
    clicked = simulated["train"]["clicked"].to_numpy()
    others = np.array([(clicked[day == name] == 0).sum() for name in "1234567"])
    np.testing.assert_allclose(others, (clicked == 0).sum() / 7, rtol=0.01)
    order = np.argsort(probability)
    for part in [*np.array_split(order, 5)[1:], order[-400:]]:
        deviation = np.sqrt((probability[part] * (1 - probability[part])).sum())
        assert abs(clicked[part].sum() - probability[part].sum()) < 4 * deviation


def test_users_come_back_with_all_that_is_their_own(simulated: Simulated) -> None:
    """10,704,179 rows have 7,179,942 sequences; texts below ten events are equal by chance."""
    train, test = simulated["train"], simulated["test"]
    texts = [np.array(table["seq"].to_pylist()) for table in (train, test)]
    is_long = [np.char.count(text, ",") >= 9 for text in texts]
    long_train, long_test = (text[long] for text, long in zip(texts, is_long))
    assert len(long_train) / len(np.unique(long_train)) == pytest.approx(1.491, abs=0.03)
    last = np.array(train["day_of_week"].to_pylist())[is_long[0]] == "7"
    on_last_day = np.isin(long_train[last], long_train[~last]).mean()
    assert 0.1 < np.isin(long_test, long_train).mean() < 0.2 < on_last_day < 0.4
    key = users.train_users(SEED, np.arange(ROWS))
    _, first, user = np.unique(key, return_index=True, return_inverse=True)
    for name in ("seq", "gender", "age_group", *{*simulated_columns.user_columns()} - {"feat_e_3"}):
        values = np.array(train[name].to_pylist(), dtype=object)
        assert (values == values[first][user]).all(), name
    hour = np.array(train["hour"].to_pylist())
    assert (hour != hour[first][user]).mean() > 0.2


def test_a_user_has_the_same_bits_at_each_index_of_a_block() -> None:
    user = np.repeat(users.strangers(3, 1), 1_003)
    day = np.zeros(len(user), np.int8)
    drawn = simulated_columns.draw_columns(np.random.default_rng(0), user, day)
    for name in {*simulated_columns.user_columns(), "LENGTH"} - {"feat_e_3"}:
        assert len(np.unique(drawn[name])) == 1, name


def test_rows_depend_on_the_seed_and_not_on_how_many_follow(tmp_path: Path) -> None:
    """But for what depends on the day, which their number sets."""
    first, again, other = (
        [path.read_bytes() for path in simulate(tmp_path, name, rows=400, seed=seed)]
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    for one, two, three in zip(first, again, other, strict=True):
        assert one == two != three
    short, long = pq.read_table(tmp_path / "a.parquet"), simulate(tmp_path, "d", rows=900, seed=5)
    longer = pq.read_table(long[0])
    of_day = ["day_of_week", *ADVERT_COLUMNS, "clicked"]
    assert longer.slice(0, 400).drop_columns(of_day).equals(short.drop_columns(of_day))
    test = pq.read_table(simulate(tmp_path, "test", split="test", seed=5)[0])["seq"]
    parts = [longer["seq"].slice(0, 200), longer["seq"].slice(200, 200), test.slice(0, 200)]
    assert len({tuple(part.to_pylist()) for part in parts}) == 3


# Statistics of the real file


def test_categories_and_missing_blocks_follow_the_statistics(simulated: Simulated) -> None:
    """77 columns in 17,208 of 10,704,179 rows, 18 feat_a_* in 18,598, feat_e_3 in 1,085,557."""
    train = simulated["train"]
    for name in ("gender", "age_group", "inventory_id", "hour"):
        shares = load_statistics()["categories"][name]["shares"]
        value = np.array(train[name].to_pylist(), dtype=object)
        expected = np.array(list(shares.values()))
        measured = np.array([(value == text).mean() for text in shares])
        np.testing.assert_allclose(measured, expected / expected.sum(), atol=0.012)
        assert set(value) - {None} <= set(shares)
    missing = {name: train[name].is_null().to_numpy() for name in train.schema.names}
    for name, count, share in (
        ("gender", 77, 0.0016076),
        ("feat_a_1", 18, 0.0017374),
        ("feat_e_3", 1, 0.1014144),
        ("seq", 23, 0),
    ):
        assert sum(np.array_equal(missing[name], other) for other in missing.values()) == count
        # A user's rows are missing together: two rows say little more than one.
        expected_share = pytest.approx(share, abs=6 * np.sqrt(share / ROWS))
        assert missing[name].mean() == expected_share


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


def test_histories_follow_the_statistics(long_rows: click_model.Rows) -> None:
    """Published of the real file: lengths, codes in all places and at the end, distinct codes."""
    drawn = long_rows.sequences
    published = load_statistics()["sequence"]
    for level, value in ((0.25, 181), (0.5, 439), (0.75, 778), (0.9, 1122), (0.99, 1847)):
        assert np.quantile(drawn.lengths, level) == pytest.approx(value, rel=0.08)
    assert drawn.lengths.mean() == pytest.approx(sequences.REAL_MEAN, rel=0.03)
    score = np.random.default_rng(1).standard_normal(9_000, dtype=np.float32)
    short = sequences.draw_lengths(score, 20.0)
    assert (short.min(), short.mean()) == (1, pytest.approx(20.0, rel=0.05))
    size, share = len(sequences.vocabulary()), sequences.token_shares()
    assert size == 594
    realised = np.bincount(drawn.values, minlength=size) / len(drawn.values)
    np.testing.assert_allclose(realised[:15], share[:15], rtol=0.1)
    assert np.abs(realised - share).sum() / 2 < 0.06
    last = drawn.values[drawn.offsets[1:] - 1]
    for code, of_last in list(published["last_token_share"].items())[:2]:
        token = sequences.vocabulary().index(code)
        assert (last == token).mean() == pytest.approx(of_last, rel=0.1)
    ends = zip(drawn.offsets[:2_000], drawn.offsets[1:2_001], strict=True)
    distinct = [len(np.unique(drawn.values[start:end])) for start, end in ends]
    assert np.mean(distinct) == pytest.approx(52.67, rel=0.1)


def test_each_creative_is_of_one_ad_set_and_each_of_these_of_one_campaign(
    simulated: Simulated,
) -> None:
    train = simulated["train"].to_pandas()
    of_creative = train.groupby(CREATIVE)[list(ADVERT_COLUMNS)].nunique()
    assert (of_creative == 1).all(axis=None)
    of_ad_set = [name for name, of in ADVERT_COLUMNS.items() if of != CREATIVE]
    assert (train.groupby(AD_SET)[of_ad_set].nunique() == 1).all(axis=None)
    assert ((train["l_feat_1"] == 1) == (train["inventory_id"] == "36")).all()
    assert train["l_feat_9"].equals(train["l_feat_17"])


def test_history_columns_are_past_rates(simulated: Simulated) -> None:
    """history_b_3 to 30 are k / D times a constant, as most printed values of the real file are."""
    train = simulated["train"].to_pandas().dropna()
    constants = load_statistics()["history"]["past_rate_columns"]
    past = np.stack([train[name] / constant for name, constant in constants.items()])
    np.testing.assert_allclose(past, np.broadcast_to(past[0], past.shape), rtol=1e-5)
    inverse = 1.0 / past[0]
    twice = 2.0 * inverse
    np.testing.assert_allclose(twice, np.rint(twice), rtol=1e-4)
    correlation = train[[f"history_a_{i}" for i in (2, 3, 5)]].corr().abs()
    assert correlation.min(axis=None) > 0.9
    assert train["history_a_1"].corr(train["history_b_17"]) == pytest.approx(0.69, abs=0.12)


# The click model


def test_a_new_users_probability_follows_from_the_file_and_a_known_ones_tells_more(
    simulated: Simulated,
) -> None:
    for split in ("train", "test"):
        logit = click_model.click_logit(parsed(simulated[split].slice(0, 2_000)))
        expected = simulated[f"{split}_truth"]["probability_of_new_user"].slice(0, 2_000)
        np.testing.assert_allclose(
            click_model.mean_over_users(logit), expected.to_numpy(), rtol=1e-4
        )
    truth = simulated["train_truth"]
    true, new_user = (truth[name].to_numpy() for name in truth.schema.names[1:])
    assert 0.77 < expected_metric("auc", true, true) < 0.80
    assert 0.01 < expected_metric("auc", true, true) - expected_metric("auc", new_user, true) < 0.05
    part = click_model.user_part(users.train_users(SEED, np.arange(ROWS)))
    np.testing.assert_allclose(np.corrcoef(np.log(true / new_user), part)[0, 1], 1, atol=0.02)


def test_click_rates_are_the_published_ones(long_rows: click_model.Rows) -> None:
    """By value of the frequent categories, and by length, within four standard errors or 5 %."""
    probability = click_model.mean_over_users(click_model.click_logit(long_rows))
    spans = load_statistics()["sequence"]["click_rate_by_length"]
    span = np.searchsorted(click_model.length_spans()[:, 1], long_rows.sequences.lengths)
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


def test_each_effect_varies_and_two_depend_on_which_events_there_are(
    long_rows: click_model.Rows,
) -> None:
    effects = click_model.effects(long_rows)
    assert all(effect.std() > 0.005 for effect in effects.values())
    logit = click_model.click_logit(long_rows)
    assert 0.75 < expected_metric("auc", logit, click_model.mean_over_users(logit)) < 0.79
    one = sequences.draw_sequences(
        users.strangers(5, len(logit)), long_rows.columns["LENGTH"], long_rows.mean_length
    )
    other = click_model.effects(click_model.Rows(long_rows.columns, one, long_rows.mean_length))
    changed = {name for name in effects if not np.array_equal(effects[name], other[name])}
    assert changed == {"last", "events"}
