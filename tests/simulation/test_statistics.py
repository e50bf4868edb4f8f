"""The marginal statistics of simulated rows are those of the real file."""

import numpy as np
import pytest

from feseq.simulation import columns, sequences
from feseq.simulation.statistics import load_statistics, missing_shares
from support.simulated import MEAN_LENGTH, ROWS, Drawn, Simulated, ragged


def test_category_shares_follow_the_statistics(simulated: Simulated) -> None:
    for name in ("gender", "age_group", "inventory_id", "hour"):
        shares = load_statistics()["categories"][name]["shares"]
        value = np.array(simulated["train"][name].to_pylist(), dtype=object)
        expected = np.array(list(shares.values()))
        found = np.array([(value == text).mean() for text in shares])
        np.testing.assert_allclose(found, expected / expected.sum(), atol=0.012)
        assert set(value) - {None} <= set(shares)


def test_values_are_missing_in_the_blocks_of_the_real_file(simulated: Simulated) -> None:
    """77 columns in 17,208 of 10,704,179 rows, 18 feat_a_* in 18,598, feat_e_3 in 1,085,557."""
    train = simulated["train"]
    missing = {name: train[name].is_null().to_numpy() for name in train.schema.names}
    block, feat_a, feat_e_3 = (missing[name] for name in ("gender", "feat_a_1", "feat_e_3"))
    for rows, count in ((block, 77), (feat_a, 18), (feat_e_3, 1), (np.zeros(ROWS, bool), 23)):
        assert sum(np.array_equal(rows, other) for other in missing.values()) == count
    assert feat_a[block].all()
    assert feat_e_3[feat_a].all()
    for rows, share in ((block, 0.0016076), (feat_a, 0.0017374), (feat_e_3, 0.1014144)):
        # A user's rows are missing together: two rows say little more than one.
        assert rows.mean() == pytest.approx(share, abs=6 * np.sqrt(share / ROWS))


def test_quantiles_follow_the_statistics(simulated: Simulated) -> None:
    level = np.array(load_statistics()["quantile_levels"])[1:-1]
    for name, measured in load_statistics()["numeric"].items():
        # The statistics count null as 0.
        value = np.nan_to_num(simulated["train"][name].to_numpy())
        if name not in load_statistics()["ids"]:
            assert measured["quantiles"][0] - 1e-3 <= value.min(), name
            assert value.max() <= measured["quantiles"][-1] + 1e-3, name
        # They were measured on rows of which other shares are missing than in the file.
        more = np.subtract(*missing_shares(name))
        zeros = measured["zero_share"] + more
        chance = 5 * np.sqrt(zeros * (1 - zeros) / ROWS)
        assert (value == 0).mean() == pytest.approx(zeros, abs=chance + 0.001), name
        slack, off = 1e-5 * np.abs(measured["quantiles"][1:-1]), 0.015 + abs(more)
        for p, quantile, near in zip(level, measured["quantiles"][1:-1], slack, strict=True):
            assert (value < quantile - near).mean() <= p + off, (name, p)
            assert (value <= quantile + near).mean() >= p - off, (name, p)
        if name.startswith("l_feat_"):
            assert np.array_equal(value, np.rint(value)), name


def test_columns_of_few_values_have_as_many_as_the_file(simulated: Simulated) -> None:
    for name, distinct in (("feat_d_1", 31), ("feat_d_6", 31), ("feat_c_7", 84), ("feat_e_5", 41)):
        everywhere = np.unique(columns.quantile_function(name)(np.linspace(0, 1, 200_001)))
        assert len(everywhere) == distinct, name
        found = simulated["train"][name].drop_null().unique().to_numpy()
        assert set(found) <= set(everywhere.astype(np.float32)), name
    # feat_d_1 is measured in thirtieths of its range.
    thirtieths = np.array(simulated["train"]["feat_d_1"].drop_null().unique()) / 0.38961 * 30
    np.testing.assert_allclose(thirtieths, np.rint(thirtieths), atol=0.01)


def test_redundant_columns_are_those_of_the_file(simulated: Simulated) -> None:
    train = simulated["train"]
    column = {name: train[name].to_numpy() for name in ("l_feat_3", "l_feat_16")}
    for name in ("l_feat_20", "l_feat_23"):
        assert len(train[name].drop_null().unique()) == 1, name
    assert train["l_feat_9"].equals(train["l_feat_17"])
    assert np.array_equal(column["l_feat_16"] == 2, column["l_feat_3"] == 1)
    history = np.stack([train[f"history_b_{i}"].drop_null().to_numpy() for i in range(1, 31)])
    correlation = np.corrcoef(history)
    assert (correlation[2:, 2:].min() > 0.995, correlation.min() > 0.6) == (True, True)


def test_advert_ids_come_and_go(simulated: Simulated) -> None:
    """Some of the test's IDs are new, about as many as on the last train day."""
    day = np.array(simulated["train"]["day_of_week"].to_pylist())
    for name, count in (("l_feat_11", 1_524), ("l_feat_12", 5_050), ("l_feat_14", 3_237)):
        train, test = simulated["train"][name].to_numpy(), simulated["test"][name].to_numpy()
        every_day = [set(ids.tolist()) for ids, _ in columns.advert_ids(name)]
        assert set().union(*every_day) == set(range(1, count + 1))
        assert set(train.tolist()) <= set().union(*every_day[:7])
        assert 0.1 < (~np.isin(test, train)).mean() < 0.4, name
        assert 0.1 < (~np.isin(train[day == "7"], train[day != "7"])).mean() < 0.4, name


def test_rank_correlations_follow_the_statistics(simulated: Simulated) -> None:
    numeric = load_statistics()["numeric"]
    index = [i for i, name in enumerate(numeric) if numeric[name]["distinct"] > 100]
    names = [list(numeric)[i] for i in index]
    expected = np.array(load_statistics()["rank_correlation"])[np.ix_(index, index)]
    value = np.stack([np.nan_to_num(simulated["train"][name].to_numpy()) for name in names])
    realised = np.corrcoef(np.argsort(np.argsort(value, axis=1), axis=1))
    assert np.abs(realised - expected).max() < 0.15
    assert np.abs(realised - expected).mean() < 0.02


def test_lengths_have_the_mean_and_a_long_tail(simulated: Simulated) -> None:
    lengths = ragged(simulated["train"]).lengths
    assert lengths.mean() == pytest.approx(MEAN_LENGTH, rel=0.03)
    assert (lengths.min() >= 1, lengths.max() <= 10 * MEAN_LENGTH) == (True, True)
    assert 0.01 < (lengths < 0.1 * MEAN_LENGTH).mean() < 0.06
    assert np.quantile(lengths, 0.99) > 4 * MEAN_LENGTH


def test_token_shares_and_successors_follow_the_statistics(simulated: Simulated) -> None:
    drawn = ragged(simulated["train"])
    share, size = sequences.token_shares(), len(sequences.vocabulary())
    realised = np.bincount(drawn.values, minlength=size) / len(drawn.values)
    assert np.abs(realised - share).sum() / 2 < 0.06
    first = np.bincount(drawn.values[drawn.offsets[:-1]], minlength=size) / ROWS
    assert np.abs(first - sequences.first_token_shares()).max() < 0.015
    follows = np.ones(len(drawn.values), dtype=bool)
    follows[drawn.offsets[:-1]] = False
    to = np.flatnonzero(follows)
    pairs = np.zeros((size, size))
    np.add.at(pairs, (drawn.values[to - 1], drawn.values[to]), 1.0)
    frequent = slice(0, 60)
    successors = pairs[frequent] / pairs[frequent].sum(axis=1, keepdims=True)
    apart = np.abs(successors - sequences.measured_successors()[frequent]).sum(axis=1) / 2
    assert (apart * share[frequent]).sum() / share[frequent].sum() < 0.05
    assert apart.max() < 0.3


def test_users_differ_and_change_over_time(long_rows: Drawn) -> None:
    _, drawn = long_rows
    block, rows = 50, np.flatnonzero(drawn.lengths >= 300)
    size = len(sequences.vocabulary())
    shares = []
    for age in (0, 50, 250):  # newest, next to it, and long before
        place = drawn.offsets[1:][rows][:, None] - 1 - age - np.arange(block)
        key = np.arange(len(rows))[:, None] * size + drawn.values[place]
        counts = np.bincount(key.reshape(-1), minlength=len(rows) * size).reshape(-1, size)
        shares.append(counts / block - (counts / block).mean(axis=0))
    near = (shares[0] * shares[1]).sum(axis=1).mean()
    apart = (shares[0] * shares[2]).sum(axis=1).mean()
    strangers = (shares[0] * np.roll(shares[2], 1, axis=0)).sum(axis=1).mean()
    assert near > 1.5 * apart
    assert apart > 5 * abs(strangers)
