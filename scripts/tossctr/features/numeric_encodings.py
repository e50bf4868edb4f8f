"""Numeric encodings: values scaled, ranked among train rows, or flagged if missing."""

from collections.abc import Sequence

import numpy as np

from .numeric import NumericField

# The numeric encodings that a layer can take.
ENCODINGS = ("minmax", "quantile", "buckets", "missing")
# Quantile buckets of a column.
BUCKETS = 20


def count_blocks(fields: Sequence[NumericField]) -> int:
    """The number of blocks of columns that are missing together."""
    return len({field.missing_block for field in fields} - {None})


class NumericEncoder:
    """Encodes raw values by each of `encodings`."""

    def __init__(self, fields: Sequence[NumericField], encodings: Sequence[str]) -> None:
        self.encodings = encodings
        self.low = np.array([field.minimum for field in fields])
        self.high = np.array([field.maximum for field in fields])
        size = self.high - self.low
        self.factor = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
        # Knots and ranks approximate a column's distribution. Where many rows share one value,
        # np.interp(shares, ranks, knots) does not give the quantiles.
        self.knots = [(np.array(field.knots), np.array(field.ranks)) for field in fields]
        first = {field.missing_block: i for i, field in reversed(list(enumerate(fields)))}
        # All columns of a block are missing together.
        self.blocks = [first[block] for block in sorted(b for b in first if b is not None)]

    def __call__(self, raw: np.ndarray) -> dict[str, np.ndarray]:
        """By encoding, float32 [rows, columns or missing blocks] of raw values [rows, columns].

        minmax     scaled from the train rows' range to [0, 1] and clipped; missing is 0
        quantile   ranks, uniform in [0, 1], scaled to mean 0 and deviation 1; missing is 0
        buckets    the number of the quantile bucket, from 0; missing is BUCKETS
        missing    by block of columns that are missing together, 1 if they are
        """
        encoded = {}
        if "minmax" in self.encodings:
            clipped = np.clip(raw, self.low, self.high)
            encoded["minmax"] = np.nan_to_num((clipped - self.low) * self.factor)
        if "quantile" in self.encodings or "buckets" in self.encodings:
            rank = self.rank(raw)
        if "quantile" in self.encodings:
            scaled = (rank.astype(np.float64) - 0.5) * 12**0.5
            encoded["quantile"] = np.where(rank < 0, 0, scaled)
        if "buckets" in self.encodings:
            bucket = np.clip(np.floor(rank * BUCKETS), 0, BUCKETS - 1)
            encoded["buckets"] = np.where(rank < 0, BUCKETS, bucket)
        if "missing" in self.encodings:
            encoded["missing"] = np.isnan(raw[:, self.blocks])
        return {name: encoded[name].astype(np.float32) for name in self.encodings}

    def rank(self, raw: np.ndarray) -> np.ndarray:
        """float32 [rows, columns] in [0, 1], the share of train values below; missing is -1."""
        ranks = np.full(raw.shape, np.nan)
        for i, (knots, rank) in enumerate(self.knots):
            if len(knots):
                ranks[:, i] = np.interp(raw[:, i], knots, rank)
        # One knot alone would give missing values its rank.
        return np.where(np.isnan(raw), -1, np.nan_to_num(ranks, nan=-1)).astype(np.float32)
