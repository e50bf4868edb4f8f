"""Fits numeric columns, and encodes them as scaled values, ranks, buckets, or missing flags.

A missing block is a set of columns that are missing in the same rows. Distributions are fitted on
the first train rows, which are shuffled; ranges and missing blocks are fitted on all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The numeric encodings; see NumericEncoder.
ENCODINGS = ("minmax", "quantile", "buckets", "missing")
# Number of quantile buckets of a column.
BUCKETS = 20
# Rows of the sample for the knots: ranks are accurate to about 1 / sqrt(rows).
SAMPLE_ROWS = 200_000
KNOTS = 257


@dataclass(frozen=True)
class NumericField:
    """A numeric column, its range, and the distribution of its finite values.

    `knots` are some of the values, ascending and distinct. ranks[i] is the share of values below
    knots[i], plus half the share of values equal to it, with frequent values counted less. Columns
    with the same `missing_block` are missing in the same rows; None if the column is never missing
    in train rows.
    """

    column: str
    minimum: float
    maximum: float
    knots: Sequence[float] = ()
    ranks: Sequence[float] = ()
    missing_block: int | None = None


class NumericFit:
    """Computes the NumericField of each column, block by block of rows."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self.low = np.full(len(columns), np.inf)
        self.high = np.full(len(columns), -np.inf)
        self.sample = [np.empty((0, len(columns)), np.float32)]
        # The number of rows in which both columns of a pair are missing, [columns, columns].
        self.missing = np.zeros((len(columns), len(columns)), np.int64)

    def add(self, values: np.ndarray) -> None:
        """Add the raw values of some rows, float32 [rows, columns]."""
        finite = np.isfinite(values)
        self.low = np.minimum(self.low, np.where(finite, values, np.inf).min(0))
        self.high = np.maximum(self.high, np.where(finite, values, -np.inf).max(0))
        if sum(map(len, self.sample)) < SAMPLE_ROWS:
            self.sample.append(values)
        missing = np.isnan(values[~finite.all(1)]).astype(np.float32)
        self.missing += (missing.T @ missing).astype(np.int64)

    def fields(self, first_missing_block: int = 0) -> list[NumericField]:
        """The NumericField of each column; numbers missing blocks from the given number on."""
        sample, rows = np.concatenate(self.sample)[:SAMPLE_ROWS], self.missing.diagonal()
        # For each column, the first column that is missing in exactly the same rows.
        is_same = (self.missing == rows) & (self.missing == rows[:, None])
        twin = [int(same.argmax()) if same.any() else -1 for same in is_same & (rows > 0)]
        distinct = dict.fromkeys(i for i in twin if i >= 0)
        blocks = {i: block for block, i in enumerate(distinct, first_missing_block)}
        # A column without finite values has no range; the range 0 to 0 encodes it as 0.
        has_range = self.low <= self.high
        low, high = (np.where(has_range, each, 0).tolist() for each in (self.low, self.high))
        return [
            NumericField(name, low[i], high[i], *_distribution(sample[:, i]), blocks.get(twin[i]))
            for i, name in enumerate(self.columns)
        ]


def _distribution(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Knots and ranks of the finite values."""
    finite = values[np.isfinite(values)].astype(np.float64)
    distinct, count = np.unique(finite, return_counts=True)
    count = _cap_at_a_bucket(count)
    rank = (np.cumsum(count) - count / 2) / max(1, count.sum())
    if len(distinct) > KNOTS:
        chosen = np.unique(np.searchsorted(rank, np.linspace(rank[0], rank[-1], KNOTS)))
        distinct, rank = distinct[chosen], rank[chosen]
    return distinct.tolist(), rank.tolist()


def _cap_at_a_bucket(count: np.ndarray) -> np.ndarray:
    """Counts of distinct values, reduced so that none exceeds 1 / BUCKETS of the reduced sum.

    Otherwise, if most values were equal, such as 0, the other values would share few buckets.
    """
    if len(count) <= BUCKETS:
        return np.ones(len(count))
    # The k most frequent values take a bucket each; the other values share the other buckets.
    frequent, k = np.sort(count)[::-1][:BUCKETS], np.arange(BUCKETS)
    limit = (count.sum() - np.cumsum(frequent) + frequent) / (BUCKETS - k)
    return np.minimum(count, limit[np.argmax(frequent <= limit)])


def count_missing_blocks(fields: Sequence[NumericField]) -> int:
    """The number of sets of columns that are missing in the same rows."""
    return len({field.missing_block for field in fields} - {None})


# What a missing value is in each encoding.
MISSING_VALUE = {"minmax": 0, "quantile": 0, "buckets": BUCKETS, "missing": 1}


class NumericEncoder:
    """Encodes the raw values of the columns `fields`, once for each of `encodings`."""

    def __init__(self, fields: Sequence[NumericField], encodings: Sequence[str]) -> None:
        self.encodings = encodings
        self.low = np.array([field.minimum for field in fields])
        self.high = np.array([field.maximum for field in fields])
        size = self.high - self.low
        self.factor = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
        # np.interp(shares, ranks, knots) does not give quantiles if many rows share a value.
        self.knots = [(np.array(field.knots), np.array(field.ranks)) for field in fields]
        first = {field.missing_block: i for i, field in reversed(list(enumerate(fields)))}
        # The first column of each missing block.
        self.blocks = [first[block] for block in sorted(b for b in first if b is not None)]

    def __call__(self, raw: np.ndarray) -> dict[str, np.ndarray]:
        """Encode `raw` [rows, columns]; return a dict from encoding to float32 [rows, columns].

        minmax      scaled from the train rows' range to [0, 1] and clipped; missing is 0
        quantile    rank, scaled: mean 0 and standard deviation 1 if uniform; missing is 0
        buckets     number of the quantile bucket, from 0 on; missing is BUCKETS
        missing     one column for each missing block: 1 if missing, else 0
        """
        encoded = {}
        if "minmax" in self.encodings:
            clipped = np.clip(raw, self.low, self.high)
            encoded["minmax"] = np.nan_to_num((clipped - self.low) * self.factor)
        if "quantile" in self.encodings or "buckets" in self.encodings:
            rank = self.rank(raw)
        if "quantile" in self.encodings:
            scaled = (rank.astype(np.float64) - 0.5) * 12**0.5
            encoded["quantile"] = np.where(rank < 0, MISSING_VALUE["quantile"], scaled)
        if "buckets" in self.encodings:
            bucket = np.clip(np.floor(rank * BUCKETS), 0, BUCKETS - 1)
            encoded["buckets"] = np.where(rank < 0, MISSING_VALUE["buckets"], bucket)
        if "missing" in self.encodings:
            encoded["missing"] = np.isnan(raw[:, self.blocks])
        return {name: encoded[name].astype(np.float32) for name in self.encodings}

    def rank(self, raw: np.ndarray) -> np.ndarray:
        """For each value, the share of train rows with a lower value, float32 [rows, columns].

        Equal values count half, as in NumericField. For a missing value, the result is -1.
        """
        ranks = np.full(raw.shape, np.nan)
        for i, (knots, rank) in enumerate(self.knots):
            if len(knots):
                ranks[:, i] = np.interp(raw[:, i], knots, rank)
        # With a single knot, np.interp also gives missing values its rank.
        return np.where(np.isnan(raw), -1, np.nan_to_num(ranks, nan=-1)).astype(np.float32)
