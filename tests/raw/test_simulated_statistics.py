"""The marginal statistics of simulated rows are those of the real file."""

import numpy as np
import pytest

from feseq.common.ragged import Ragged
from feseq.raw.simulation import (
    drawn_columns,
    drawn_sequences,
)
from feseq.raw.simulation.statistics import (
    load_statistics,
    missing_share,
    numeric_columns,
    sample_missing_share,
)
from support.simulated import (
    MEAN_LENGTH,
    ROWS,
    Drawn,
    Simulated,
    ragged,
)


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
