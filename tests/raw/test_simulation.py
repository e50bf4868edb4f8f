"""The simulated stand-in: its files, its marginal statistics and its planted click model."""

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feseq.common.errors import UserError
from feseq.common.ragged import Ragged
from feseq.raw.simulation import (
    click_components,
    click_model,
    drawn_columns,
    drawn_sequences,
    drawn_users,
    simulate_split,
)
from feseq.raw.simulation.statistics import (
    load_statistics,
    logistic,
    missing_share,
    numeric_columns,
    sample_missing_share,
)

Drawn = tuple[drawn_columns.DrawnColumns, Ragged]

ROWS, TEST_ROWS = 20_000, 4_000
SEED = 7
MEAN_LENGTH = 50.0


@dataclass(frozen=True)
class Simulated:
    train: pa.Table
    train_truth: pa.Table
    test: pa.Table
    test_truth: pa.Table


def simulate(folder: Path, name: str, **settings: Any) -> tuple[Path, Path]:
    parquet, truth = folder / f"{name}.parquet", folder / f"{name}_truth.parquet"
    defaults: dict[str, Any] = {
        "split": "train",
        "rows": 600,
        "mean_length": 20.0,
        "seed": 1,
        "chunk_rows": 200,
    }
    simulate_split(parquet, truth, **{**defaults, **settings})
    return parquet, truth


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("simulated")
    size = {"mean_length": MEAN_LENGTH, "seed": SEED, "chunk_rows": 8_000}
    paths = [
        *simulate(folder, "train", split="train", rows=ROWS, **size),
        *simulate(folder, "test", split="test", rows=TEST_ROWS, train_rows=ROWS, **size),
    ]
    return Simulated(*(pq.read_table(path) for path in paths))


@pytest.fixture(scope="module")
def long_rows() -> Drawn:
    """Return 12,000 rows of mean length 500, by a stream that no file and no pilot uses."""
    return draw(12_000, 500.0)


def draw(rows: int, mean_length: float) -> Drawn:
    users = drawn_users.strangers(314, rows)
    day = drawn_columns.train_day(0, rows, rows)
    columns = drawn_columns.draw_columns(np.random.default_rng(314), users, day)
    return columns, drawn_sequences.draw_sequences(users, mean_length)


def ragged(table: pa.Table) -> Ragged:
    """Parse `seq` the slow and obvious way."""
    token_of = {str(code): token for token, code in enumerate(drawn_sequences.vocabulary())}
    rows = [[token_of[code] for code in text.split(",")] for text in table["seq"].to_pylist()]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Ragged(np.concatenate(rows).astype(np.uint16), offsets)


def parsed_columns(table: pa.Table) -> drawn_columns.DrawnColumns:
    category = {}
    for name in drawn_columns.CATEGORIES:
        code_of = {value: code for code, value in enumerate(drawn_columns.category_values(name))}
        codes = [code_of.get(value, -1) for value in table[name].to_pylist()]
        category[name] = np.array(codes, dtype=np.int8)
    numeric = {
        field.name: table[field.name].to_numpy() for field in table.schema if is_float(field)
    }
    return drawn_columns.DrawnColumns(category, numeric)


def is_float(field: pa.Field) -> bool:
    return bool(pa.types.is_floating(field.type))


def expected_auc(score: np.ndarray, probability: np.ndarray) -> float:
    """Return the AUC expected over all labels that the probabilities allow."""
    positive = probability[np.argsort(score, kind="stable")]
    negative = 1.0 - positive
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / (positive.sum() * negative.sum()))


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The files


def test_train_file_has_the_columns_and_types_of_the_real_one(simulated: Simulated) -> None:
    schema = simulated.train.schema
    assert schema.names == load_statistics()["column_order"]
    assert len(schema.names) == 119
    texts = {"gender", "age_group", "inventory_id", "day_of_week", "hour", "seq"}
    assert {field.name for field in schema if field.type == pa.string()} == texts
    assert {field.name for field in schema if field.type == pa.int64()} == {"clicked"}
    assert sum(field.type == pa.float32() for field in schema) == 75 + 37
    assert set(simulated.train["clicked"].unique().to_pylist()) == {0, 1}


def test_test_file_has_ids_first_and_no_label(simulated: Simulated) -> None:
    names = simulated.test.schema.names
    assert names == ["ID", *(n for n in simulated.train.schema.names if n != "clicked")]
    identifiers = simulated.test["ID"].to_pylist()
    assert identifiers == [f"TEST_{row:07d}" for row in range(TEST_ROWS)]


def test_truth_lies_apart_in_row_order(simulated: Simulated) -> None:
    probabilities = ["probability", "probability_of_new_user"]
    assert simulated.train_truth.schema.names == ["row", *probabilities]
    assert simulated.train_truth["row"].to_pylist() == list(range(ROWS))
    assert simulated.test_truth.schema.names == ["ID", *probabilities]
    assert simulated.test_truth["ID"].equals(simulated.test["ID"])


def test_train_days_have_as_many_rows_without_a_click_and_their_click_rates(
    simulated: Simulated,
) -> None:
    day = np.array(simulated.train["day_of_week"].to_pylist())
    clicked = simulated.train["clicked"].to_numpy()
    assert list(day) == sorted(day)
    others = np.array([(clicked[day == name] == 0).sum() for name in "1234567"])
    np.testing.assert_allclose(others, (clicked == 0).sum() / 7, rtol=0.01)
    probability = simulated.train_truth["probability"].to_numpy()
    rates = load_statistics()["categories"]["day_of_week"]["click_rate"]
    found = [probability[day == name].mean() for name in rates]
    np.testing.assert_allclose(found, list(rates.values()), rtol=0.2)
    assert 1.15 < max(found) / min(found) < 1.5


def test_the_test_rows_are_of_the_day_after_which_is_called_day_7(simulated: Simulated) -> None:
    assert simulated.test["day_of_week"].unique().to_pylist() == ["7"]


def test_users_come_back_with_the_same_sequence(simulated: Simulated) -> None:
    """Texts of ten events and more: shorter ones are equal by chance."""
    train, test = (
        np.array([text for text in table["seq"].to_pylist() if text.count(",") >= 9])
        for table in (simulated.train, simulated.test)
    )
    # 10,704,179 rows have 7,179,942 sequences.
    assert len(train) / len(np.unique(train)) == pytest.approx(1.491, abs=0.03)
    assert 1.1 < len(test) / len(np.unique(test)) < 1.3
    day = np.array(simulated.train["day_of_week"].to_pylist())
    is_long = np.array([text.count(",") >= 9 for text in simulated.train["seq"].to_pylist()])
    last = day[is_long] == "7"
    share_on_last_day = np.isin(train[last], train[~last]).mean()
    share_in_test = np.isin(test, train).mean()
    assert 0.1 < share_in_test < 0.2 < share_on_last_day < 0.4


def test_what_is_a_users_own_is_the_same_in_all_rows(simulated: Simulated) -> None:
    users = drawn_users.train_users(SEED, 0, ROWS)
    _, first, user = np.unique(users.key, return_index=True, return_inverse=True)
    assert len(users) / len(first) == pytest.approx(1.491, abs=0.02)
    for name in ("seq", "gender", "age_group"):
        values = np.array(simulated.train[name].to_pylist(), dtype=object)
        assert (values == values[first][user]).all(), name
    missing = simulated.train["feat_e_3"].is_null().to_numpy()
    assert (missing == missing[first][user]).all()
    hour = np.array(simulated.train["hour"].to_pylist())
    assert (hour != hour[first][user]).mean() > 0.2


def test_no_row_names_a_later_row_as_its_user() -> None:
    """The users of the first rows are the same however many follow, and in any chunks."""
    whole = drawn_users.train_users(3, 0, 5_000).key
    parts = [drawn_users.train_users(3, first, 250).key for first in range(0, 5_000, 250)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert len(np.unique(drawn_users.train_users(3, 10_000_000, 5_000).key)) > 4_500
    alone = drawn_users.test_users(3, 0, 2_000, train_rows=0).key
    known = drawn_users.test_users(3, 0, 2_000, train_rows=5_000).key
    assert not np.isin(alone, whole).any()
    assert 0.1 < np.isin(known, whole).mean() < 0.2
    assert np.array_equal(known[~np.isin(known, whole)], alone[~np.isin(known, whole)])


def test_same_seed_gives_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = (
        simulate(tmp_path, name, seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    for one, two, three in zip(first, again, other, strict=True):
        assert checksum(one) == checksum(two) != checksum(three)


def test_full_chunks_do_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    """But for what depends on the day, which their number sets."""
    short, _ = simulate(tmp_path, "short", rows=400)
    long, _ = simulate(tmp_path, "long", rows=900)
    of_day = ["day_of_week", "l_feat_11", "l_feat_12", "l_feat_14", "clicked"]
    expected = pq.read_table(short).drop_columns(of_day)
    assert pq.read_table(long).slice(0, 400).drop_columns(of_day).equals(expected)


def test_chunks_and_splits_differ_from_each_other(tmp_path: Path) -> None:
    train = pq.read_table(simulate(tmp_path, "train")[0])["seq"].to_pylist()
    test = pq.read_table(simulate(tmp_path, "test", split="test")[0])["seq"].to_pylist()
    assert train[:200] != train[200:400]
    assert train[:200] != test[:200]


def test_days_do_not_depend_on_the_chunking(tmp_path: Path) -> None:
    days = [
        pq.read_table(simulate(tmp_path, str(chunk), chunk_rows=chunk)[0])["day_of_week"]
        for chunk in (600, 170)
    ]
    assert days[0].to_pylist() == days[1].to_pylist()


def test_impossible_settings_name_the_number_and_write_nothing(tmp_path: Path) -> None:
    for settings, number in (
        ({"rows": 0}, "0"),
        ({"mean_length": 0.5}, "0.5"),
        ({"split": "x"}, "x"),
    ):
        with pytest.raises(UserError, match=number):
            simulate(tmp_path, "bad", **settings)
    assert list(tmp_path.iterdir()) == []


def test_progress_takes_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="feseq.raw.simulation"):
        simulate(tmp_path, "many", rows=600, chunk_rows=20)
    assert 1 <= len(caplog.records) <= 10
    assert "600 rows simulated" in caplog.records[-1].getMessage()


# The marginal statistics


def test_category_shares_follow_the_statistics(simulated: Simulated) -> None:
    for name in ("gender", "age_group", "inventory_id", "hour"):
        statistics = load_statistics()["categories"][name]
        value = np.array(simulated.train[name].to_pylist(), dtype=object)
        expected = np.array(list(statistics["shares"].values()))
        share = np.array([(value == text).mean() for text in statistics["shares"]])
        np.testing.assert_allclose(share, expected / expected.sum(), atol=0.012)
        assert set(value) - {None} <= set(statistics["shares"])


def test_values_are_missing_in_the_blocks_of_the_real_file(simulated: Simulated) -> None:
    """77 columns in 17,208 of 10,704,179 rows, 18 feat_a_* in 18,598, feat_e_3 in 1,085,557."""
    missing = {
        name: simulated.train[name].is_null().to_numpy() for name in simulated.train.schema.names
    }
    block, feat_a, feat_e_3 = (missing[name] for name in ("gender", "feat_a_1", "feat_e_3"))
    assert sum(np.array_equal(rows, block) for rows in missing.values()) == 77
    assert sum(np.array_equal(rows, feat_a) for rows in missing.values()) == 18
    assert sum(not rows.any() for rows in missing.values()) == 119 - 77 - 18 - 1
    assert feat_a[block].all()
    assert feat_e_3[feat_a].all()
    for rows, share in ((block, 0.0016076), (feat_a, 0.0017374), (feat_e_3, 0.1014144)):
        # A user's rows are missing together: two rows say little more than one.
        assert rows.mean() == pytest.approx(share, abs=6 * np.sqrt(share / ROWS))
    probability = simulated.train_truth["probability_of_new_user"].to_numpy()
    assert probability[feat_e_3].mean() > 1.2 * probability[~feat_e_3].mean()


def test_quantiles_follow_the_statistics(simulated: Simulated) -> None:
    level = np.array(load_statistics()["quantile_levels"])[1:-1]
    for name in numeric_columns():
        measured = load_statistics()["numeric"][name]
        value = np.nan_to_num(simulated.train[name].to_numpy())  # the statistics count null as 0
        if name not in load_statistics()["ids"]:
            assert measured["quantiles"][0] - 1e-3 <= value.min(), name
            assert value.max() <= measured["quantiles"][-1] + 1e-3, name
        # They were measured on rows of which other shares are missing than in the file.
        more = missing_share(name) - sample_missing_share(name)
        zeros = measured["zero_share"] + more
        chance = 5 * np.sqrt(zeros * (1 - zeros) / ROWS)
        assert (value == 0).mean() == pytest.approx(zeros, abs=chance + 0.001), name
        for p, quantile in zip(level, measured["quantiles"][1:-1], strict=True):
            slack = 1e-5 * abs(quantile)
            off = 0.015 + abs(more)
            assert (value < quantile - slack).mean() <= p + off, (name, p)
            assert (value <= quantile + slack).mean() >= p - off, (name, p)


def test_columns_of_few_values_have_as_many_as_the_file(simulated: Simulated) -> None:
    for name, distinct in (("feat_d_1", 31), ("feat_d_6", 31), ("feat_c_7", 84), ("feat_e_5", 41)):
        quantile = drawn_columns.quantile_functions()[name]
        everywhere = np.unique(quantile(np.linspace(0, 1, 200_001)))
        assert len(everywhere) == distinct, name
        found = simulated.train[name].drop_null().unique().to_numpy()
        assert set(found) <= set(everywhere.astype(np.float32)), name
        assert len(found) > 0.8 * distinct, name
    # feat_d_1 is measured in thirtieths of its range.
    thirtieths = np.array(simulated.train["feat_d_1"].drop_null().unique()) / 0.38961 * 30
    np.testing.assert_allclose(thirtieths, np.rint(thirtieths), atol=0.01)


def test_redundant_columns_are_those_of_the_file(simulated: Simulated) -> None:
    column = {name: simulated.train[name].to_numpy() for name in ("l_feat_3", "l_feat_16")}
    for name in ("l_feat_20", "l_feat_23"):
        assert len(simulated.train[name].drop_null().unique()) == 1, name
    assert simulated.train["l_feat_9"].equals(simulated.train["l_feat_17"])
    assert np.array_equal(column["l_feat_16"] == 2, column["l_feat_3"] == 1)


def test_advert_ids_come_and_go(simulated: Simulated) -> None:
    """Some of the test's IDs are new, about as many as on the last train day."""
    day = np.array(simulated.train["day_of_week"].to_pylist())
    for name, count in (("l_feat_11", 1_524), ("l_feat_12", 5_050), ("l_feat_14", 3_237)):
        train, test = simulated.train[name].to_numpy(), simulated.test[name].to_numpy()
        for value in (train, test):
            assert np.array_equal(value, np.rint(value))
            assert value.min() >= 1
            assert value.max() <= count
        new_in_test = (~np.isin(test, train)).mean()
        new_on_last_day = (~np.isin(train[day == "7"], train[day != "7"])).mean()
        assert 0.1 < new_in_test < 0.4, name
        assert 0.1 < new_on_last_day < 0.4, name
        every_day = [set(ids) for ids in drawn_columns.advert_ids()[name].ids]
        assert len(set().union(*every_day)) == count
        assert set().union(*every_day[:7]) < set(np.arange(1, count + 1))


def test_integer_columns_hold_integers(simulated: Simulated) -> None:
    for name in ("l_feat_1", "l_feat_12", "l_feat_18", "l_feat_25"):
        value = simulated.train[name].to_numpy()
        value = value[~np.isnan(value)]
        assert np.array_equal(value, np.rint(value)), name
    fraction = simulated.train["feat_e_2"].to_numpy() % 1.0
    assert fraction[fraction > 0].size > 0.9 * ROWS


def test_rank_correlations_follow_the_statistics(simulated: Simulated) -> None:
    names = numeric_columns()
    spread = [n for n in names if load_statistics()["numeric"][n]["distinct"] > 100]
    index = [names.index(name) for name in spread]
    expected = np.array(load_statistics()["rank_correlation"])[np.ix_(index, index)]
    value = np.stack([np.nan_to_num(simulated.train[name].to_numpy()) for name in spread])
    realised = np.corrcoef(np.argsort(np.argsort(value, axis=1), axis=1))
    assert np.abs(expected - np.eye(len(spread))).max() > 0.8
    assert np.abs(realised - expected).max() < 0.15
    assert np.abs(realised - expected).mean() < 0.02


def test_history_columns_are_small_and_share_one_factor(simulated: Simulated) -> None:
    value = np.stack(
        [simulated.train[f"history_b_{i}"].drop_null().to_numpy() for i in range(1, 31)]
    )
    assert value.min() >= 0.0
    assert value.max() < 1.0
    assert 0.01 < np.median(value) < 0.2
    correlation = np.corrcoef(value)
    assert correlation[np.triu_indices(30, 1)].min() > 0.6
    assert correlation[2:, 2:].min() > 0.995
    for name, share in load_statistics()["history_zero_share"].items():
        zeros = (simulated.train[name].to_numpy() == 0).mean()
        assert zeros == pytest.approx(share, abs=0.015), name


def test_lengths_have_the_asked_mean_and_a_long_tail(simulated: Simulated) -> None:
    lengths = ragged(simulated.train).lengths
    assert lengths.mean() == pytest.approx(MEAN_LENGTH, rel=0.03)
    assert lengths.min() >= 1
    assert lengths.max() <= 10 * MEAN_LENGTH
    assert 0.01 < (lengths < 0.1 * MEAN_LENGTH).mean() < 0.06
    assert np.quantile(lengths, 0.99) > 4 * MEAN_LENGTH


def test_token_shares_and_successors_follow_the_statistics(simulated: Simulated) -> None:
    drawn = ragged(simulated.train)
    share, size = drawn_sequences.token_shares(), len(drawn_sequences.vocabulary())
    realised = np.bincount(drawn.values, minlength=size) / len(drawn.values)
    assert np.abs(realised - share).sum() / 2 < 0.06
    assert np.corrcoef(realised, share)[0, 1] > 0.99
    first = np.bincount(drawn.values[drawn.offsets[:-1]], minlength=size) / ROWS
    assert np.abs(first - drawn_sequences.first_token_shares()).max() < 0.015
    follows = np.ones(len(drawn.values), dtype=bool)
    follows[drawn.offsets[:-1]] = False
    to = np.flatnonzero(follows)
    pairs = np.zeros((size, size))
    np.add.at(pairs, (drawn.values[to - 1], drawn.values[to]), 1.0)
    frequent = slice(0, 60)
    successors = pairs[frequent] / pairs[frequent].sum(axis=1, keepdims=True)
    apart = np.abs(successors - drawn_sequences.measured_successors()[frequent]).sum(axis=1) / 2
    assert (apart * share[frequent]).sum() / share[frequent].sum() < 0.05
    assert apart.max() < 0.3


def test_rows_differ_and_change_over_time(long_rows: Drawn) -> None:
    _, drawn = long_rows
    block = 50
    rows = np.flatnonzero(drawn.lengths >= 300)
    ages = (0, 50, 250)  # newest, next to it, and long before
    size = len(drawn_sequences.vocabulary())
    shares = []
    for age in ages:
        place = drawn.offsets[1:][rows][:, None] - 1 - age - np.arange(block)
        key = np.arange(len(rows))[:, None] * size + drawn.values[place]
        counts = np.bincount(key.reshape(-1), minlength=len(rows) * size).reshape(-1, size)
        shares.append(counts / block - (counts / block).mean(axis=0))
    near = (shares[0] * shares[1]).sum(axis=1).mean()
    apart = (shares[0] * shares[2]).sum(axis=1).mean()
    strangers = (shares[0] * np.roll(shares[2], 1, axis=0)).sum(axis=1).mean()
    assert near > 1.5 * apart
    assert apart > 5 * abs(strangers)


def test_joined_codes_read_back_as_the_tokens() -> None:
    drawn = Ragged(
        values=np.array([4, 0, 7, 2, 2, 5], dtype=np.uint16), offsets=np.array([0, 2, 3, 6])
    )
    code = drawn_sequences.vocabulary()
    expected = [f"{code[4]},{code[0]}", f"{code[7]}", f"{code[2]},{code[2]},{code[5]}"]
    assert drawn_sequences.join_codes(drawn).to_pylist() == expected


# The planted clicks


def test_click_rates_are_the_measured_ones(simulated: Simulated) -> None:
    """The click rate of all days, or of day 7 for the test file."""
    for truth, rate in ((simulated.train_truth, 0.0191), (simulated.test_truth, 0.01725)):
        for name in ("probability", "probability_of_new_user"):
            probability = truth[name].to_numpy()
            tolerance = 5 * probability.std() / np.sqrt(len(probability))
            assert probability.mean() == pytest.approx(rate, abs=tolerance), name
    assert simulated.train["clicked"].to_numpy().mean() == pytest.approx(0.0191, abs=0.004)


def test_a_new_users_probability_is_the_mean_over_users(simulated: Simulated) -> None:
    """A user's clicks tell of the user's other rows, beyond what stands in these."""
    logit = np.array([-8.0, -4.0, -1.0, 2.0])
    drawn = logit[:, None] + click_model.user_part(drawn_users.strangers(5, 200_000))
    expected = logistic(drawn).mean(axis=1)
    np.testing.assert_allclose(click_model.mean_over_users(logit), expected, rtol=0.02)
    truth = simulated.train_truth
    true, new_user = (truth[name].to_numpy() for name in truth.schema.names[1:])
    best, best_of_new_user = expected_auc(true, true), expected_auc(new_user, true)
    assert 0.03 < best - best_of_new_user < 0.1
    lift = np.log(true / new_user)
    users = drawn_users.train_users(SEED, 0, ROWS)
    np.testing.assert_allclose(np.corrcoef(lift, click_model.user_part(users))[0, 1], 1, atol=0.01)


def test_labels_are_calibrated_to_the_probabilities(simulated: Simulated) -> None:
    probability = simulated.train_truth["probability"].to_numpy()
    clicked = simulated.train["clicked"].to_numpy()
    order = np.argsort(probability)
    for part in [*np.array_split(order, 5)[1:], order[-400:]]:
        expected = probability[part].sum()
        deviation = np.sqrt((probability[part] * (1 - probability[part])).sum())
        assert abs(clicked[part].sum() - expected) < 4 * deviation
    assert probability[clicked == 1].mean() > 3 * probability.mean()


def test_truth_of_a_new_user_follows_from_the_file_alone_in_train_and_test(
    simulated: Simulated,
) -> None:
    model = click_model.click_model(MEAN_LENGTH)
    pairs = (
        (simulated.train.slice(0, 2_000), simulated.train_truth.slice(0, 2_000)),
        (simulated.test, simulated.test_truth),
    )
    for table, truth in pairs:
        logit = model.logit(parsed_columns(table), ragged(table))
        recomputed = click_model.mean_over_users(logit)
        expected = truth["probability_of_new_user"].to_numpy()
        np.testing.assert_allclose(recomputed, expected, rtol=1e-4)


def test_each_component_has_its_strength_and_matters(long_rows: Drawn) -> None:
    model = click_model.click_model(500.0)
    components = model.components(*long_rows)
    logit = model.intercept + np.sum(list(components.values()), axis=0)
    probability = click_model.mean_over_users(logit)
    best = expected_auc(logit, probability)
    assert 0.84 < best < 0.89
    least_loss = {
        "categories": 0.008,
        "numerics": 0.02,
        "missing": 0.0003,
        "adverts": 0.005,
        "affinity": 0.025,
        "order": 0.005,
        "far": 0.04,
    }
    assert set(least_loss) == set(components)
    for name, component in components.items():
        strength = click_model.STRENGTH[name]
        if strength is not None:
            assert component.std() == pytest.approx(strength, rel=0.15)
        assert best - expected_auc(logit - component, probability) > least_loss[name], name


def test_half_of_the_affinity_is_the_same_for_all_inventories(long_rows: Drawn) -> None:
    drawn, events = long_rows
    by_group = []
    for group in range(click_components.INVENTORY_GROUPS):
        code = np.full(drawn.rows, group, dtype=np.int8)
        moved = replace(drawn, category={**drawn.category, "inventory_id": code})
        by_group.append(click_components.affinity(moved, events))
    main = np.mean(by_group, axis=0).var()
    own = np.mean([(value - np.mean(by_group, axis=0)).var() for value in by_group])
    assert 0.4 < main / (main + own) < 0.6


def test_affinity_depends_on_the_inventory(long_rows: Drawn) -> None:
    drawn, events = long_rows
    other_code = (drawn.category["inventory_id"] + 1) % 3
    other = replace(drawn, category={**drawn.category, "inventory_id": other_code})
    before, after = (
        click_components.affinity(drawn, events),
        click_components.affinity(other, events),
    )
    assert 0.1 < np.corrcoef(before, after)[0, 1] < 0.9


def test_shuffling_the_newest_events_changes_only_the_order_component(long_rows: Drawn) -> None:
    drawn, events = long_rows
    rng = np.random.default_rng(0)
    tokens = events.values.copy()
    for start, end in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        newest = slice(max(start, end - click_components.NEWEST_EVENTS), end)
        tokens[newest] = rng.permutation(tokens[newest])
    shuffled = replace(events, values=tokens)
    model = click_model.click_model(500.0)
    before, after = model.components(drawn, events), model.components(drawn, shuffled)
    for name in set(before) - {"order"}:
        np.testing.assert_allclose(after[name], before[name], atol=1e-4, err_msg=name)
    assert np.corrcoef(before["order"], after["order"])[0, 1] < 0.3


def test_order_of_two_tokens_decides_the_sign() -> None:
    sign = click_components.order_groups()
    x, y = int(np.argmax(sign)), int(np.argmin(sign))
    events = Ragged(np.array([x, y, y, x, x], dtype=np.uint16), np.array([0, 2, 4, 5]))
    rows, _ = draw(3, 5.0)
    x_first, y_first, neither = click_components.order(rows, events)
    assert x_first > 0 > y_first
    assert x_first == -y_first
    assert neither == 0


def test_far_component_is_blind_to_the_newest_150_events(long_rows: Drawn) -> None:
    drawn, events = long_rows
    age = np.repeat(events.offsets[1:], events.lengths) - 1 - np.arange(len(events.values))
    rng = np.random.default_rng(0)
    random = rng.integers(0, len(drawn_sequences.vocabulary()), len(age)).astype(np.uint16)
    far = click_components.far(drawn, events)
    newest_replaced = replace(events, values=np.where(age < 150, random, events.values))
    np.testing.assert_array_equal(click_components.far(drawn, newest_replaced), far)
    older_replaced = replace(events, values=np.where(age >= 150, random, events.values))
    long_enough = events.lengths >= 155
    assert np.all(click_components.far(drawn, older_replaced)[long_enough] != far[long_enough])
    assert np.all(far[~long_enough] == 0)
    assert 0.6 < long_enough.mean() < 0.9


def test_far_component_cannot_be_read_off_the_newer_events(long_rows: Drawn) -> None:
    components = click_model.click_model(500.0).components(*long_rows)
    assert abs(np.corrcoef(components["far"], components["affinity"])[0, 1]) < 0.1
