"""The fields of numeric columns in a feature map, and how they are fitted.

Distributions are fitted on the first train rows, a fair sample since the rows are shuffled; ranges
and missing blocks on all rows.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..common.errors import UserError

# Rows of the sample for the knots: ranks are accurate to about 1 / sqrt(rows).
SAMPLE_ROWS = 200_000
KNOTS = 257
# float32 holds all whole numbers up to this.
_MOST_EXACT = 1 << 24
Distinct = tuple[np.ndarray, np.ndarray]
_NO_VALUES: Distinct = (np.empty(0), np.empty(0, np.int64))
Distribution = tuple[list[float], list[float]]


@dataclass(frozen=True)
class NumericField:
    """A numeric column and the distribution of its finite values.

    `knots` ascend and are distinct; `ranks[i]` is the share of values below `knots[i]`, and half of
    those equal to it. Columns with the same `missing_block` are missing in the very same rows; None
    for a column that no train row lacks.
    """

    column: str
    minimum: float
    maximum: float
    knots: Sequence[float] = ()
    ranks: Sequence[float] = ()
    missing_block: int | None = None


class NumericFit:
    """Statistics of named columns over blocks of train rows; all values of `ids` are counted."""

    def __init__(self, columns: Sequence[str], ids: Sequence[str] = ()) -> None:
        self.columns = list(columns)
        self.ids = {name: [_NO_VALUES] for name in ids}
        self.low = np.full(len(columns), np.inf)
        self.high = np.full(len(columns), -np.inf)
        self.sample: list[np.ndarray] = []
        self.sample_rows = 0
        # Digests of the rows in which each column is missing; equal ones make a block.
        self.missing = [hashlib.blake2b(digest_size=16) for _ in columns]
        self.never_missing = [True] * len(columns)

    def add(self, values: np.ndarray) -> None:
        """Add a block of raw values float32 [rows, columns]."""
        finite = np.isfinite(values)
        self.low = np.minimum(self.low, np.where(finite, values, np.inf).min(0))
        self.high = np.maximum(self.high, np.where(finite, values, -np.inf).max(0))
        if self.sample_rows < SAMPLE_ROWS:
            self.sample.append(values[: SAMPLE_ROWS - self.sample_rows])
            self.sample_rows += len(self.sample[-1])
        for i, bits in enumerate(np.packbits(np.isnan(values), axis=0).T):
            self.missing[i].update(bits.tobytes())
            self.never_missing[i] &= not bits.any()
        for name, counted in self.ids.items():
            distinct, count = _distinct(values[:, self.columns.index(name)])
            _check_exact(distinct, name)
            counted.append((distinct, count))
            # Merge rarely, since it sorts all values.
            if sum(len(distinct) for distinct, _ in counted[1:]) > len(counted[0][0]):
                counted[:] = [_merged(counted)]

    def fields(self, names: Sequence[str], first_block: int = 0) -> list[NumericField]:
        """The columns of these names; blocks are numbered from `first_block` on."""
        blocks: dict[bytes, int] = {}
        fields = []
        for name in names:
            i = self.columns.index(name)
            # A column without one finite value has no range; 0 to 0 encodes it as 0 everywhere.
            has_range = self.low[i] <= self.high[i]
            low, high = (float(self.low[i]), float(self.high[i])) if has_range else (0.0, 0.0)
            block = None
            if not self.never_missing[i]:
                block = blocks.setdefault(self.missing[i].digest(), first_block + len(blocks))
            sample = np.concatenate([values[:, i] for values in self.sample])
            distribution = _distribution(*_distinct(sample))
            fields.append(NumericField(name, low, high, *distribution, missing_block=block))
        return fields

    def id_values(self, min_count: int) -> dict[str, list[float]]:
        """Values of at least `min_count` rows."""
        merged = {name: _merged(counted) for name, counted in self.ids.items()}
        return {
            name: values[count >= min_count].tolist() for name, (values, count) in merged.items()
        }


def _distinct(values: np.ndarray) -> Distinct:
    """The distinct finite values, float64 ascending, and how often each occurs."""
    return np.unique(values[np.isfinite(values)].astype(np.float64), return_counts=True)


def _merged(counted: Sequence[Distinct]) -> Distinct:
    """All distinct values, ascending, and how often each occurs."""
    values, count = map(np.concatenate, zip(*counted))
    merged, place = np.unique(values, return_inverse=True)
    return merged, np.bincount(place, count, minlength=len(merged)).astype(np.int64)


def _check_exact(values: np.ndarray, column: str) -> None:
    if len(values) and np.abs(values).max() > _MOST_EXACT:
        example = values[np.abs(values).argmax()]
        raise UserError(
            f"column {column!r}, which is numeric and context, holds values like {example:.0f}: "
            f"as float32, integers are exact only up to {_MOST_EXACT:,}; take it out of "
            f"`numeric` in columns.groups, then its values are kept as text"
        )


def _distribution(distinct: np.ndarray, count: np.ndarray) -> Distribution:
    """Knots and ranks of values that occur `count` times."""
    if not len(distinct):
        return [], []
    rank = (np.cumsum(count) - count / 2) / count.sum()
    if len(distinct) > KNOTS:
        kept = np.unique(np.searchsorted(rank, np.linspace(rank[0], rank[-1], KNOTS)))
        distinct, rank = distinct[kept], rank[kept]
    return distinct.tolist(), rank.tolist()
