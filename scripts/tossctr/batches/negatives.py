"""Negative sampling: an epoch has all clicks and draws a share of the negatives."""

import logging
from typing import Literal

import numpy as np

from ..common.errors import UserError

logger = logging.getLogger(__name__)

# With `auto`, an epoch has this many rows, and at least this many negatives for each click.
# Larger epochs take longer and gain little (benchmarks/tried.md).
AUTO_ROWS = 150_000
MIN_NEGATIVES_PER_CLICK = 6
NegativeSamplingRate = float | Literal["auto"]


def resolve_sampling_rate(rate: NegativeSamplingRate, label: np.ndarray, key: str) -> float:
    """The share of negatives that an epoch draws; "auto" aims at AUTO_ROWS rows, and is logged."""
    if rate != "auto":
        return rate
    clicks = int(label.sum())
    negatives = len(label) - clicks
    drawn = min(len(label), max(AUTO_ROWS, (1 + MIN_NEGATIVES_PER_CLICK) * clicks)) - clicks
    if drawn == negatives:
        return 1.0
    logger.info(
        "%s is auto: each epoch has all %s clicks and a share of %.3g of the %s negatives",
        *(key, f"{clicks:,}", drawn / negatives, f"{negatives:,}"),
    )
    return drawn / negatives


class NegativeSampler:
    """Draws all clicks and a share `rate` of the negatives from each block of `block_rows` rows.

    `label` has the labels of all rows. `rows` is the number of rows drawn in an epoch,
    `sampling_rate` the exact drawn share of all negatives. The odds of a click among all rows
    are the odds among drawn rows, times `sampling_rate`. Raises UserError if no negative would be
    drawn; its message names the setting `key`.
    """

    def __init__(self, label: np.ndarray, rate: float, block_rows: int, key: str) -> None:
        starts = np.arange(0, len(label), block_rows)
        negatives_K = np.add.reduceat(label == 0, starts, dtype=np.int64)
        # Cumulative sums are rounded, so that the blocks' counts add up to the rounded total.
        bounds = np.floor(rate * np.concatenate(([0], np.cumsum(negatives_K))) + 0.5)
        self.drawn_K = np.diff(bounds.astype(np.int64))
        self.block_rows = block_rows
        negatives, drawn = int(negatives_K.sum()), int(self.drawn_K.sum())
        if not drawn:
            raise UserError(f"{key}: {rate:g} draws none of {negatives:,} negatives; raise it")
        self.rows = len(label) - negatives + drawn
        self.sampling_rate = drawn / negatives

    def draw_rows(self, first_row: int, label: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Draw an epoch's rows from the block at `first_row`, as ascending indices in the block."""
        block = first_row // self.block_rows
        # Not 0: default_rng ignores a trailing 0, and [seed, epoch] already orders the blocks.
        random = np.random.default_rng([seed, epoch, block + 1])
        negatives = random.choice(np.flatnonzero(label == 0), self.drawn_K[block], replace=False)
        return np.sort(np.concatenate([np.flatnonzero(label), negatives]))
