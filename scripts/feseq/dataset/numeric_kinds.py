"""Numeric columns as a model takes them: scaled, ranked among train rows, flagged if missing."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from ..common.errors import UserError
from .numeric import NumericField

# Quantile buckets of a column.
BUCKETS = 20


def count_blocks(fields: Sequence[NumericField]) -> int:
    """How many blocks of columns there are that are missing together."""
    return len({field.missing_block for field in fields} - {None})


class NumericEncoder:
    """Makes numbers of raw values, by kind; raises UserError for an unknown kind."""

    def __init__(self, fields: Sequence[NumericField], kinds: Sequence[str]) -> None:
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise UserError(
                f"the model takes numbers of the kind {unknown[0]!r}, and this version of the "
                f"workflow has {', '.join(KINDS)}; use the version that made it"
            )
        self.makers = {kind: KINDS[kind](fields) for kind in kinds}
        self.knots = [(np.array(field.knots), np.array(field.ranks)) for field in fields]

    def __call__(self, raw: np.ndarray) -> dict[str, np.ndarray]:
        """By kind, float32 [rows, columns or missing blocks] of raw values [rows, columns]."""
        rows = RawNumbers(raw, self.knots)
        return {kind: make(rows).astype(np.float32) for kind, make in self.makers.items()}


class RawNumbers:
    """The numeric values of some rows: `raw` [rows, columns], NaN where missing."""

    def __init__(self, raw: np.ndarray, knots: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        self.raw, self._knots = raw, knots

    @cached_property
    def rank(self) -> np.ndarray:
        """float32 [rows, columns] in [0, 1], the share of train values below; missing is -1."""
        ranks = np.full(self.raw.shape, np.nan)
        for i, (knots, rank) in enumerate(self._knots):
            if len(knots):
                ranks[:, i] = np.interp(self.raw[:, i], knots, rank)
        # One knot alone would give missing values its rank.
        return np.where(np.isnan(self.raw), -1, np.nan_to_num(ranks, nan=-1)).astype(np.float32)


Maker = Callable[[RawNumbers], np.ndarray]


def _minmax(fields: Sequence[NumericField]) -> Maker:
    """Scaled from the train rows' range to [0, 1] and clipped; missing is 0."""
    low = np.array([field.minimum for field in fields])
    high = np.array([field.maximum for field in fields])
    factor = np.divide(1, high - low, out=np.zeros_like(low), where=high > low)
    return lambda rows: np.nan_to_num((np.clip(rows.raw, low, high) - low) * factor)


def _quantile(fields: Sequence[NumericField]) -> Maker:
    """Ranks, uniform in [0, 1], scaled to mean 0 and deviation 1; missing is 0."""
    return lambda rows: np.where(rows.rank < 0, 0, (rows.rank.astype(np.float64) - 0.5) * 12**0.5)


def _bucket(fields: Sequence[NumericField]) -> Maker:
    """The number of the quantile bucket, from 0; missing is BUCKETS."""
    return lambda rows: np.where(
        rows.rank < 0, BUCKETS, np.clip(np.floor(rows.rank * BUCKETS), 0, BUCKETS - 1)
    )


def _missing(fields: Sequence[NumericField]) -> Maker:
    """By block of columns that are missing together, 1 where they are."""
    first = {field.missing_block: i for i, field in reversed(list(enumerate(fields)))}
    # All columns of a block are missing together.
    columns = [first[block] for block in sorted(block for block in first if block is not None)]
    return lambda rows: np.isnan(rows.raw[:, columns])


# The kinds of numbers that a layer can take, each made from raw values and the feature map's
# fields. Knots and ranks hold a column's distribution: np.interp(shares, ranks, knots) are its
# quantiles if it has many values. If it has few, at most KNOTS, each is a knot, and its share of
# the rows is 2 * (its rank - the share of the rows below it).
KINDS: dict[str, Callable[[Sequence[NumericField]], Maker]] = {
    "minmax": _minmax,
    "quantile": _quantile,
    "bucket": _bucket,
    "missing": _missing,
}
