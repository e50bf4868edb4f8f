"""Negative sampling: epochs of all clicks and a share of the negatives, drawn each epoch."""

import logging
from typing import Literal

import numpy as np

from ..common.errors import UserError

logger = logging.getLogger(__name__)

# `auto` makes an epoch of this many rows, with at least this many negatives for each click. Larger
# epochs made networks worse and trees no better (benchmarks/tried.md).
AUTO_ROWS = 150_000
MIN_OTHERS = 6
NegativeSamplingRate = float | Literal["auto"]


def chosen_rate(share: NegativeSamplingRate, label: np.ndarray, key: str) -> float:
    """The share of the negatives to train on; `auto` makes an epoch of AUTO_ROWS.

    `label` [train rows]. What `auto` chose is logged, with the setting's name `key`.
    """
    if share != "auto":
        return share
    clicks = int(label.sum())
    others = len(label) - clicks
    wanted = min(len(label), max(AUTO_ROWS, (1 + MIN_OTHERS) * clicks)) - clicks
    if wanted == others:
        return 1.0
    logger.info(
        "%s auto: trains on %.3g of %s negatives and all %s clicks",
        *(key, wanted / others, f"{others:,}", f"{clicks:,}"),
    )
    return wanted / others


class NegativeDraw:
    """Draws, in blocks of consecutive rows, all clicks and a fixed number of negatives.

    The negatives of a block are equally likely. `rows` is the number of rows of every epoch,
    `sampling_rate` the share of the negatives drawn: the click odds among drawn rows, times
    `sampling_rate`, are the odds among all rows.
    """

    def __init__(self, label: np.ndarray, share: float, block_rows: int, key: str) -> None:
        starts = np.arange(0, len(label), block_rows)
        others_K = np.add.reduceat(label == 0, starts, dtype=np.int64)
        # Cumulative sums are rounded, so that the blocks' numbers add up to the rounded total.
        bounds = np.floor(share * np.concatenate(([0], np.cumsum(others_K))) + 0.5)
        self.kept_K = np.diff(bounds.astype(np.int64))
        self.block_rows = block_rows
        others, kept = int(others_K.sum()), int(self.kept_K.sum())
        if not kept:
            raise UserError(
                f"{key} {share:g}: this share of {others:,} negatives rounds to no row; raise it"
            )
        self.rows = len(label) - others + kept
        self.sampling_rate = kept / others

    def drawn(self, first_row: int, label: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """The ascending indices of the rows that an epoch draws from the block at `first_row`.

        They depend only on the arguments. `label` [rows of the block].
        """
        block = first_row // self.block_rows
        # default_rng ignores a trailing 0, and [seed, epoch] orders the blocks.
        random = np.random.default_rng([seed, epoch, block + 1])
        others = random.choice(np.flatnonzero(label == 0), self.kept_K[block], replace=False)
        return np.sort(np.concatenate([np.flatnonzero(label), others]))
