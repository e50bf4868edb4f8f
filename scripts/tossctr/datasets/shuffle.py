"""Rows in memory, written in the order of their places, as many at a time as memory may hold."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..common.arrays import Ragged, narrow
from .block import Block
from .store import H5Writer

# The most that is shuffled together, whatever the number of rows and the length of their histories.
SHUFFLED_BYTES = 1 << 28
# Rows of one write.
WRITTEN_ROWS = 8_192


class Shuffle:
    """Rows that come in any order, for several files, each with another order.

    They are collected up to SHUFFLED_BYTES, and then written in these orders.
    """

    def __init__(self, writers: Sequence[H5Writer]) -> None:
        self.writers = writers
        self._waiting: list[list[tuple[Block, np.ndarray]]] = [[] for _ in writers]
        self._bytes = 0

    def append(self, block: Block, file: np.ndarray, place: np.ndarray) -> None:
        """Take rows, with the number of each row's file and its place in that file, [rows].

        They are sorted by file, and by place within each file.
        """
        size = block.nbytes + place.nbytes
        if self._bytes and self._bytes + size > SHUFFLED_BYTES:
            self.write()
        bounds = np.searchsorted(file, np.arange(len(self.writers) + 1)).tolist()
        for waiting, start, stop in zip(self._waiting, bounds, bounds[1:]):
            waiting.append((block.slice(start, stop), place[start:stop]))
        self._bytes += size

    def write(self) -> None:
        """Write the rows collected; a file that has none gets its columns nevertheless."""
        for writer, waiting in zip(self.writers, self._waiting):
            for block in _in_order(waiting):
                sequences = {
                    name: Ragged(narrow(ragged.values), ragged.offsets)
                    for name, ragged in block.sequences.items()
                }
                writer.append(replace(block, sequences=sequences))
            waiting.clear()
        self._bytes = 0


def _in_order(blocks: Sequence[tuple[Block, np.ndarray]]) -> Iterator[Block]:
    """The rows of all blocks in the order of their places, some thousand at a time."""
    places = np.sort(np.concatenate([place for _, place in blocks]))
    if not len(places):
        yield blocks[0][0]
    for start in range(0, len(places), WRITTEN_ROWS):
        wanted = places[start : start + WRITTEN_ROWS]
        # Each block is in order itself, so what it has of these is one slice of it.
        cuts = [np.searchsorted(place, [wanted[0], wanted[-1] + 1]) for _, place in blocks]
        slices = [(pair, cut) for pair, cut in zip(blocks, cuts) if cut[0] < cut[1]]
        place = np.concatenate([place[slice(*cut)] for (_, place), cut in slices])
        rows = Block.joined([block.slice(*cut) for (block, _), cut in slices])
        yield rows.take(np.argsort(place))
