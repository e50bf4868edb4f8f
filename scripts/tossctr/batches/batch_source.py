"""Reads a table in windows of rows, and cuts them into batches of similar history lengths."""

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
from .negatives import NegativeSampler, NegativeSamplingRate, resolve_sampling_rate

# Rows of a block. An epoch reads the blocks in random order.
BLOCK_ROWS = 8_192
# About this many rows, from several blocks, form a window, in which rows are shuffled and sorted.
WINDOW_ROWS = 65_536


class BatchSource:
    """Batches of the rows of a table, encoded by a feature map.

    `batch_rows` is the number of rows in a batch, or a function that computes it from the number of
    rows in an epoch. A batch has positions for each row's newest `max_len` events and target.

    An epoch has all clicks and a random share of the negatives, `negative_sampling_rate`; the
    attribute `sampling_rate` is the exact share.
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
        self.max_len, self.block_rows = max_len, BLOCK_ROWS
        self.sampler: NegativeSampler | None = None
        self.rows_per_epoch, self.sampling_rate = self.rows, 1.0
        if negative_sampling_rate != 1:
            label, key = self.table.column("label"), "train.negative_sampling_rate"
            share = resolve_sampling_rate(negative_sampling_rate, label, key)
            if share < 1:
                self.sampler = sampler = NegativeSampler(label, share, self.block_rows, key)
                self.rows_per_epoch, self.sampling_rate = sampler.rows, sampler.sampling_rate
        self.batch_rows = batch_rows(self.rows_per_epoch) if callable(batch_rows) else batch_rows
        self.window_rows = self.batch_rows * max(1, WINDOW_ROWS // self.batch_rows)

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.rows_per_epoch // self.batch_rows)

    def shuffled(
        self, seed: int, epoch: int, *, first_batch: int = 0, rank: int = 0, ranks: int = 1
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch: each row once, in an order set by `seed` and `epoch`.

        Blocks of rows are read in random order, and several blocks form a window. Within a window,
        rows are shuffled, then divided into batches of similar history lengths. These batches come
        in random order, so a row's place in the epoch does not depend on its length. Rows left over
        in the last window, chosen at random, form a smaller batch.

        The first `first_batch` batches are skipped. Process number `rank` of `ranks` gets every
        `ranks`-th row of each batch, perhaps none of a small batch.
        """
        random = np.random.default_rng([seed, epoch])
        starts = random.permutation(np.arange(0, self.rows, self.block_rows)).tolist()
        # While a window is in use, only the next one is read.
        windows = prefetch_map(lambda window: window, self._windows(starts, seed, epoch), buffer=1)
        groups = islice(self._shuffled_groups(windows, random), first_batch, None)

        def batch_of_rank(pair: tuple[Block, np.ndarray]) -> Batch:
            window, group = pair
            batch = self._batch(window.take(group[rank::ranks]))
            return batch if ranks == 1 else replace(batch, global_rows=len(group))

        return prefetch_map(batch_of_rank, groups)

    def in_order(
        self, start: int = 0, stop: int | None = None, *, ablate_histories: bool = False
    ) -> Iterator[Batch]:
        """Yield batches of the rows `start` to `stop` (exclusive), window by window of the table.

        Within a window, the rows with the longest histories come first. With `ablate_histories`,
        the rows keep this order, but their histories are ablated (empty).
        """
        stop = self.rows if stop is None else stop
        starts = range(start, stop, self.window_rows)
        windows = prefetch_map(
            lambda first: self._read(first, min(first + self.window_rows, stop)), starts, buffer=1
        )

        def groups() -> Iterator[Block]:
            for window in windows:
                order = np.argsort(-self._lengths(window), kind="stable")
                rows = window.newest(0) if ablate_histories else window
                for i in range(0, len(order), self.batch_rows):
                    yield rows.take(order[i : i + self.batch_rows])

        return prefetch_map(self._batch, groups())

    def _windows(self, starts: Iterable[int], seed: int, epoch: int) -> Iterator[Block]:
        """Windows of the (drawn) rows of the blocks at `starts`; only the last may be short."""
        waiting: list[Block] = []
        missing = self.window_rows
        for start in starts:
            block = self._read(start, min(start + self.block_rows, self.rows))
            if self.sampler is not None:
                assert block.label is not None, "a train file has labels"
                block = block.take(self.sampler.draw_rows(start, block.label, seed, epoch))
            while len(block) >= missing:
                window = Block.concatenate([*waiting, block.slice(0, missing)])
                # Before the yield: otherwise the blocks stay in memory beside their window.
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
        """Each batch as its window and the indices of its rows in the window."""
        for window in windows:
            order = random.permutation(len(window))
            left_over = len(order) % self.batch_rows
            lengths = self._lengths(window)
            small_group, full = (
                indices[np.argsort(lengths[indices], kind="stable")]
                for indices in (order[:left_over], order[left_over:])
            )
            groups = list(full.reshape(-1, self.batch_rows)) + ([small_group] if left_over else [])
            for i in random.permutation(len(groups)):
                yield window, groups[i]

    def _lengths(self, block: Block) -> np.ndarray:
        """The number of events of each row, at most `max_len`, int64 [rows]."""
        return np.minimum(self.encoder.lengths(block), self.max_len)

    def _batch(self, block: Block) -> Batch:
        assert block.index is not None, "_read sets the index"
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
            layout=PackedLayout.from_histories(history_ST, offsets, self.max_len),
        )
