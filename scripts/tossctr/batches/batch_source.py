"""From a table to a model's batches: windows of rows, cut into batches of similar length."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from ..common.prefetch import prefetch_map
from ..datasets.opening import TableSource, open_table
from ..datasets.table import Block
from ..features.encoding import DEFAULT_INPUTS, FeatureEncoder, Inputs
from ..features.feature_map import FeatureMap
from .batch import Batch, PackedLayout
from .negatives import NegativeDraw, NegativeSamplingRate, chosen_rate

# Rows that an epoch reads at once, at a random position of the table.
BLOCK_ROWS = 8_192
# Rows are shuffled and sorted by length within windows of about this many rows, of several blocks.
WINDOW_ROWS = 65_536


class BatchSource:
    """Batches of a table, encoded by a feature map, with positions for `max_len` events of a row.

    `rows` is anything that `open_table` opens. `batch_rows` may be a function of an epoch's number
    of rows. With a `negative_sampling_rate` below 1, or `auto` on many rows, each epoch has all
    clicks and draws this share of the negatives. An epoch has `rows_per_epoch` rows;
    `sampling_rate` is the exact share of the negatives that it draws.
    """

    def __init__(
        self,
        rows: TableSource,
        feature_map: FeatureMap,
        *,
        max_len: int,
        batch_rows: int | Callable[[int], int],
        inputs: Inputs = DEFAULT_INPUTS,
        negative_sampling_rate: NegativeSamplingRate = 1.0,
    ) -> None:
        self.table = open_table(rows)
        self.rows = self.table.rows
        self.encoder = FeatureEncoder(feature_map, self.table, inputs)
        self.max_len = max_len
        self.block_rows = BLOCK_ROWS
        self.draw: NegativeDraw | None = None
        self.rows_per_epoch, self.sampling_rate = self.rows, 1.0
        if negative_sampling_rate != 1:
            label, key = self.table.column("label"), "train.negative_sampling_rate"
            share = chosen_rate(negative_sampling_rate, label, key)
            if share < 1:
                self.draw = NegativeDraw(label, share, self.block_rows, key)
                self.rows_per_epoch, self.sampling_rate = self.draw.rows, self.draw.sampling_rate
        self.batch_rows = batch_rows(self.rows_per_epoch) if callable(batch_rows) else batch_rows
        self.window_rows = self.batch_rows * max(1, WINDOW_ROWS // self.batch_rows)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of an epoch; every window but the last is full."""
        return -(-self.rows_per_epoch // self.batch_rows)

    def shuffled(
        self, seed: int, epoch: int, *, first_batch: int = 0, rank: int = 0, ranks: int = 1
    ) -> Iterator[Batch]:
        """Each row of the epoch once, in an order that depends on `seed` and `epoch` alone.

        Blocks are read in random order, several for a window. Within a window, rows are shuffled,
        then grouped by length, so that a batch has little padding. The groups come in random order,
        so a row's turn does not depend on its length. Rows left over in the last window form a
        smaller batch of random rows, not of the longest histories.

        `first_batch` skips that many batches, to resume an interrupted epoch. With several ranks,
        rank r gets every `ranks`-th row of each batch, starting with row r, so that all ranks have
        similar history lengths. Together, the ranks' shares are the batches of a single rank. A
        share may be empty.
        """
        random = np.random.default_rng([seed, epoch])
        starts = random.permutation(np.arange(0, self.rows, self.block_rows)).tolist()
        # While a window is in use, only the next one is read.
        windows = prefetch_map(lambda window: window, self._windows(starts, seed, epoch), buffer=1)
        groups = islice(self._shuffled_groups(windows, random), first_batch, None)

        def share(pair: tuple[Block, np.ndarray]) -> Batch:
            window, group = pair
            batch = self._batch(window.take(group[rank::ranks]))
            return batch if ranks == 1 else replace(batch, shared_rows=len(group))

        return prefetch_map(share, groups)

    def in_order(
        self, start: int = 0, stop: int | None = None, *, ablate_histories: bool = False
    ) -> Iterator[Batch]:
        """Rows start to stop, window by window, the longest histories of a window first.

        `ablate_histories` empties all histories, and keeps the order of the rows.
        """
        stop = self.rows if stop is None else stop
        starts = range(start, stop, self.window_rows)
        windows = prefetch_map(
            lambda first: self._read(first, min(first + self.window_rows, stop)), starts, buffer=1
        )

        def groups() -> Iterator[Block]:
            for window in windows:
                order = np.argsort(-self._lengths(window), kind="stable")
                shown = window.newest(0) if ablate_histories else window
                for i in range(0, len(order), self.batch_rows):
                    yield shown.take(order[i : i + self.batch_rows])

        return prefetch_map(self._batch, groups())

    def _windows(self, starts: Iterable[int], seed: int, epoch: int) -> Iterator[Block]:
        """The rows of the blocks at `starts`, in windows; all but the last are full.

        With negative sampling, they have only the drawn rows.
        """
        waiting: list[Block] = []
        missing = self.window_rows
        for start in starts:
            block = self._read(start, min(start + self.block_rows, self.rows))
            if self.draw is not None:
                assert block.label is not None, "a train file has labels"
                block = block.take(self.draw.drawn(start, block.label, seed, epoch))
            while len(block) >= missing:
                window = Block.concatenate([*waiting, block.slice(0, missing)])
                # Before the yield, so that the blocks are not kept beside their window.
                block, waiting = block.slice(missing, len(block)), []
                missing = self.window_rows
                yield window
            waiting.append(block)
            missing -= len(block)
        if missing < self.window_rows:
            yield Block.concatenate(waiting)

    def _read(self, start: int, stop: int) -> Block:
        block = self.table.read(start, stop, self.encoder.history_columns)
        return replace(block, index=np.arange(start, stop))

    def _shuffled_groups(
        self, windows: Iterable[Block], random: np.random.Generator
    ) -> Iterator[tuple[Block, np.ndarray]]:
        """The rows of each batch, as indices in its window."""
        for window in windows:
            order = random.permutation(len(window))
            left_over = len(order) % self.batch_rows
            lengths = self._lengths(window)
            rest, full = (
                indices[np.argsort(lengths[indices], kind="stable")]
                for indices in (order[:left_over], order[left_over:])
            )
            groups = list(full.reshape(-1, self.batch_rows)) + ([rest] if left_over else [])
            for i in random.permutation(len(groups)):
                yield window, groups[i]

    def _lengths(self, block: Block) -> np.ndarray:
        """Events of each row that have positions, int64 [rows]."""
        return np.minimum(self.encoder.lengths(block), self.max_len)

    def _batch(self, block: Block) -> Batch:
        assert block.index is not None, "noted by _read"
        encoded = self.encoder.encode(block)
        cut = block if self.encoder.inputs.whole_histories else block.newest(self.max_len)
        codes, bounds, elapsed = self.encoder.histories(cut)
        history_ST, offsets = torch.from_numpy(codes), torch.from_numpy(bounds)
        label = block.label
        return Batch(
            numbers={name: torch.from_numpy(x) for name, x in encoded.numbers.items()},
            profile_BP=torch.from_numpy(encoded.profile),
            target_BG=torch.from_numpy(encoded.target),
            context_BC=torch.from_numpy(encoded.context),
            row_B=torch.from_numpy(block.index),
            label_B=None if label is None else torch.from_numpy(label.astype(np.float32)),
            history_ST=history_ST,
            elapsed_T=None if elapsed is None else torch.from_numpy(elapsed),
            offsets=offsets,
            layout=PackedLayout.of(history_ST, offsets, self.max_len),
        )
