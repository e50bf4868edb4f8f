"""Numeric columns as a model takes them: scaled, ranked among train rows, flagged if missing.

Fitted on a sample of the train rows, which are shuffled, so that their first rows are a fair one;
range and missing blocks on all rows.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..common.errors import UserError
from ..config.columns import MOST_LEVELS

# Rows behind mean, deviation and knots: a rank is met to about 1 / sqrt(rows).
SAMPLE_ROWS = 200_000
KNOTS = 257
# float32 holds all whole numbers up to this.
_MOST_EXACT = 1 << 24
Distinct = tuple[np.ndarray, np.ndarray]
_NO_VALUES: Distinct = (np.empty(0), np.empty(0, np.int64))
Distribution = tuple[float, float, list[float], list[float]]


@dataclass(frozen=True)
class NumericField:
    """A numeric column and what is known of its finite values.

    `knots` ascend and are distinct; `ranks[i]` is the share of values below `knots[i]`, and half of
    those equal to it. Columns with the same `missing_block` are missing in the very same rows; None
    for a column that no train row lacks.
    """

    column: str
    minimum: float
    maximum: float
    mean: float = 0.0
    deviation: float = 0.0
    knots: Sequence[float] = ()
    ranks: Sequence[float] = ()
    missing_block: int | None = None


class NumericFit:
    """What blocks of train rows tell of the columns named; values of `ids` are all counted."""

    def __init__(self, columns: Sequence[str], ids: Sequence[str] = ()) -> None:
        self.columns = list(columns)
        self.ids = dict.fromkeys(ids, _NO_VALUES)
        self.low = np.full(len(columns), np.inf)
        self.high = np.full(len(columns), -np.inf)
        self.sample: list[np.ndarray] = []
        self.sample_rows = 0
        # A digest of the rows that lack a column tells columns apart.
        self.missing = [hashlib.blake2b(digest_size=16) for _ in columns]
        self.never_missing = [True] * len(columns)

    def add(self, values: np.ndarray) -> None:
        """Take in a block of raw values float32 [rows, columns]."""
        finite = np.isfinite(values)
        self.low = np.minimum(self.low, np.where(finite, values, np.inf).min(0))
        self.high = np.maximum(self.high, np.where(finite, values, -np.inf).max(0))
        if self.sample_rows < SAMPLE_ROWS:
            self.sample.append(values[: SAMPLE_ROWS - self.sample_rows])
            self.sample_rows += len(self.sample[-1])
        for i, bits in enumerate(np.packbits(np.isnan(values), axis=0).T):
            self.missing[i].update(bits.tobytes())
            self.never_missing[i] &= not bits.any()
        for name, (known, count) in self.ids.items():
            found, times = _distinct(values[:, self.columns.index(name)])
            _check_exact(found, name)
            merged, place = np.unique(np.concatenate([known, found]), return_inverse=True)
            totals = np.bincount(place, np.concatenate([count, times]), minlength=len(merged))
            self.ids[name] = merged, totals.astype(np.int64)

    def fields(self, names: Sequence[str]) -> list[NumericField]:
        """The columns of these names."""
        blocks: dict[bytes, int] = {}
        fields = []
        for name in names:
            i = self.columns.index(name)
            # A column without one finite value has no range; 0 to 0 encodes it as 0 everywhere.
            has_range = self.low[i] <= self.high[i]
            low, high = (float(self.low[i]), float(self.high[i])) if has_range else (0.0, 0.0)
            block = None
            if not self.never_missing[i]:
                block = blocks.setdefault(self.missing[i].digest(), len(blocks))
            distribution, _ = self._sampled[i]
            fields.append(NumericField(name, low, high, *distribution, missing_block=block))
        return fields

    def levels(self, names: Sequence[str], min_count: int) -> dict[str, list[float]]:
        """Values of at least `min_count` sampled rows, of columns with at most MOST_LEVELS values.

        A column without two such values has no levels.
        """
        found = {}
        for name in names:
            values, count = self._sampled[self.columns.index(name)][1]
            if (count >= min_count).sum() >= 2:
                found[name] = values[count >= min_count].tolist()
        return found

    def id_values(self, min_count: int) -> dict[str, list[float]]:
        """Values of at least `min_count` rows."""
        return {
            name: values[count >= min_count].tolist() for name, (values, count) in self.ids.items()
        }

    @cached_property
    def _sampled(self) -> list[tuple[Distribution, Distinct]]:
        """Each column's distribution, and its values with their counts, none if too many."""
        found = []
        for values in np.concatenate(self.sample).T:
            distinct = _distinct(values)
            few = distinct if len(distinct[0]) <= MOST_LEVELS else _NO_VALUES
            found.append((_distribution(*distinct), few))
        return found


def _distinct(values: np.ndarray) -> Distinct:
    """The finite ones of some values, float64 ascending, and how often each occurs."""
    return np.unique(values[np.isfinite(values)].astype(np.float64), return_counts=True)


def _check_exact(values: np.ndarray, column: str) -> None:
    if len(values) and np.abs(values).max() > _MOST_EXACT:
        example = values[np.abs(values).argmax()]
        raise UserError(
            f"column {column!r}, which is numeric and context, holds values like {example:.0f}: "
            f"as numbers, whole ones are told apart only up to {_MOST_EXACT:,}; take it out of "
            f"`numeric` in columns.groups, then its values are kept as text"
        )


def _distribution(distinct: np.ndarray, count: np.ndarray) -> Distribution:
    """Mean, standard deviation, knots and ranks of values that occur `count` times."""
    if not len(distinct):
        return 0.0, 0.0, [], []
    values = np.repeat(distinct, count)
    rank = (np.cumsum(count) - count / 2) / len(values)
    if len(distinct) > KNOTS:
        kept = np.unique(np.searchsorted(rank, np.linspace(rank[0], rank[-1], KNOTS)))
        distinct, rank = distinct[kept], rank[kept]
    return float(values.mean()), float(values.std()), distinct.tolist(), rank.tolist()


def count_blocks(fields: Sequence[NumericField]) -> int:
    """How many blocks of columns there are that are missing together."""
    return len({field.missing_block for field in fields} - {None})


class NumericEncoder:
    """Scales raw values [rows, columns], and finds their ranks and missing blocks."""

    def __init__(self, fields: Sequence[NumericField], scaling: str) -> None:
        self.fields = fields
        self.scaling = scaling
        if scaling == "minmax":
            self.low = np.array([field.minimum for field in fields])
            self.high = np.array([field.maximum for field in fields])
            center, span = self.low, self.high - self.low
        else:
            # Ranks are uniform: mean 1/2, deviation sqrt(1/12).
            is_rank = scaling == "quantile"
            center = np.array([0.5 if is_rank else field.mean for field in fields])
            span = np.array([12**-0.5 if is_rank else field.deviation for field in fields])
        self.center = center
        self.factor = np.divide(1, span, out=np.zeros_like(span), where=span > 0)
        self.blocks = sorted({f.missing_block for f in fields if f.missing_block is not None})
        first = {field.missing_block: i for i, field in reversed(list(enumerate(fields)))}
        # Any column of a block tells of all.
        self.block_columns = [first[block] for block in self.blocks]

    def scale(self, raw: np.ndarray, rank: np.ndarray | None = None) -> np.ndarray:
        """float32 [rows, columns]; missing is 0. `rank`: what `rank` gives of these, if known.

        `minmax`: to [0, 1], what lies outside the train range at its ends. `standard` and
        `quantile`: mean 0 and deviation 1, of the values cut to 5 deviations or of their ranks.
        """
        if self.scaling == "minmax":
            raw = np.clip(raw.astype(np.float64), self.low, self.high)
        elif self.scaling == "quantile":
            rank = self.rank(raw) if rank is None else rank
            raw = np.where(rank < 0, np.nan, rank.astype(np.float64))
        scaled = (raw - self.center) * self.factor
        if self.scaling == "standard":
            scaled = np.clip(scaled, -5, 5)
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)

    def rank(self, raw: np.ndarray) -> np.ndarray:
        """float32 [rows, columns] in [0, 1], the share of train values below; missing is -1."""
        return np.nan_to_num(self._ranks(raw), nan=-1.0).astype(np.float32)

    def missing(self, raw: np.ndarray) -> np.ndarray:
        """float32 [rows, blocks], 1 where the block's columns are missing."""
        return np.isnan(raw[:, self.block_columns]).astype(np.float32)

    def _ranks(self, raw: np.ndarray) -> np.ndarray:
        """float64, missing NaN."""
        ranks = np.full(raw.shape, np.nan)
        for i, field in enumerate(self.fields):
            if field.knots:
                ranks[:, i] = np.interp(raw[:, i], field.knots, field.ranks)
        # One knot alone would give missing values its rank.
        return np.where(np.isnan(raw), np.nan, ranks)
