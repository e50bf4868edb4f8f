"""Numeric columns: ranks, scalings and missing blocks against plain loops over the train rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tossctr.features.numeric import (
    BUCKETS,
    ENCODINGS,
    NumericEncoder,
    NumericField,
    NumericFit,
    count_missing_blocks,
)

FINITE = st.floats(-1e6, 1e6, width=32)
MISSING = st.just(float("nan"))


def fit(*blocks: np.ndarray) -> list[NumericField]:
    names = [f"c{i}" for i in range(blocks[0].shape[1])]
    fitted = NumericFit(names)
    for block in blocks:
        fitted.add(block)
    return fitted.fields()


@given(st.lists(FINITE, min_size=1, max_size=60, unique=True))
def test_the_rank_of_a_train_value_is_the_share_below_it_and_half_of_its_own(
    values: list[float],
) -> None:
    column = np.array([*values, np.nan], np.float32)[:, None]
    ranks = NumericEncoder(fit(column), []).rank(column)[:, 0]
    known = column[~np.isnan(column)]
    for x, rank in zip(column[:, 0], ranks):
        below = (known < x).mean() + (known == x).mean() / 2 if x == x else -1
        assert rank == pytest.approx(below, abs=1e-6)


def test_a_frequent_value_takes_one_bucket_and_the_others_are_spread_over_the_rest() -> None:
    amounts = np.exp(np.random.default_rng(1).normal(size=2_000)).astype(np.float32)
    column = np.concatenate([np.zeros(18_000, np.float32), amounts])[:, None]
    buckets = NumericEncoder(fit(column), ["buckets"])(column)["buckets"][:, 0]
    count = np.bincount(buckets[column[:, 0] > 0].astype(int), minlength=BUCKETS)
    assert {*buckets[column[:, 0] == 0]} == {0}
    assert count[1:].min() > 90
    # Up to BUCKETS values have one each, however rare some are.
    few = np.repeat(np.arange(BUCKETS), 1 + np.arange(BUCKETS) ** 2).astype(np.float32)[:, None]
    assert np.array_equal(NumericEncoder(fit(few), ["buckets"])(few)["buckets"], few)


@given(st.lists(FINITE, min_size=2, max_size=40), FINITE)
def test_scalings_keep_the_order_and_stay_within_bounds(values: list[float], new: float) -> None:
    column = np.array([*values, new], np.float32)[:, None]
    fields = fit(column[:-1])
    order = np.argsort(column[:, 0], kind="stable")
    numbers = NumericEncoder(fields, [*ENCODINGS])(column)
    for encoding, low, high in (("minmax", 0, 1), ("quantile", -2, 2), ("buckets", 0, 19)):
        scaled = numbers[encoding][:, 0]
        assert (np.diff(scaled[order]) >= 0).all()
        assert low <= scaled.min() <= scaled.max() <= high


def test_many_values_keep_their_ranks_in_few_knots_and_are_scaled_by_them() -> None:
    column = np.exp(3 * np.random.default_rng(1).normal(size=(20_000, 1))).astype(np.float32)
    column[::7] = np.nan
    present = ~np.isnan(column[:, 0])
    (field,) = fit(column[:9_000], column[9_000:])
    assert len(field.knots) <= 257
    encoder = NumericEncoder([field], ["quantile"])
    true = column[present, 0].argsort().argsort() / present.sum()
    assert np.abs(encoder.rank(column)[present, 0] - true).max() < 0.005
    scaled = encoder(column)["quantile"][:, 0]
    assert (scaled[~present] == 0).all()
    assert scaled[present].mean() == pytest.approx(0, abs=0.01)
    assert scaled[present].std() == pytest.approx(1, abs=0.01)


def test_columns_missing_in_the_same_rows_are_one_block_however_the_rows_are_cut() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(100, 5)).astype(np.float32)
    some, others = random.random(100) < 0.2, random.random(100) < 0.3
    values[np.ix_(some, [0, 3])] = np.nan
    values[others, 1] = np.nan
    fields = fit(values[:37], values[37:])
    assert [field.missing_block for field in fields] == [0, 1, None, 0, None]
    assert count_missing_blocks(fields) == 2
    flags = NumericEncoder(fields, ["missing"])(values)["missing"]
    assert np.array_equal(flags, np.stack([some, others], axis=1).astype(np.float32))


def test_a_column_without_a_finite_value_is_0_and_missing() -> None:
    values = np.full((4, 1), np.nan, np.float32)
    numbers = NumericEncoder(fit(values), [*ENCODINGS])(values)
    expected = {"minmax": 0, "quantile": 0, "buckets": BUCKETS, "missing": 1}
    assert {name: set(values.ravel()) for name, values in numbers.items()} == {
        name: {value} for name, value in expected.items()
    }
