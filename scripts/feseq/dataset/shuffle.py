"""Shuffling more rows than fit into memory: in stretches, each of which is in order."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..common.ragged import Ragged, narrow
from .block import Block
from .store import H5Writer

# Rows of so many bytes are put in order at a time, in memory.
STRETCH_BYTES = 256 << 20
# Rows of one write.
_ROWS = 8_192


class Shuffle:
    """Rows in any order, written to several files, each to be read in the order of its places.

    `writers` are the files, `rows` how many rows each will have.
    """

    def __init__(self, writers: Sequence[H5Writer], rows: Sequence[int]) -> None:
        self.writers = writers
        self.stretches = 0
        self.stretch_of_row = [np.zeros(count, np.uint32) for count in rows]
        self._waiting: list[list[tuple[Block, np.ndarray]]] = [[] for _ in writers]
        self._bytes = 0

    def append(self, block: Block, file: np.ndarray, place: np.ndarray) -> None:
        """Take rows, each with the number of its file and its place in that file, [rows].

        They come in the order of their files, and in that of their places within each.
        """
        bounds = np.searchsorted(file, np.arange(len(self.writers) + 1)).tolist()
        for waiting, start, stop in zip(self._waiting, bounds, bounds[1:]):
            if start < stop:
                waiting.append((block.part(start, stop), place[start:stop]))
        self._bytes += block.nbytes
        if self._bytes >= STRETCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were taken and not written yet."""
        if not self._bytes:
            return
        for number, (writer, waiting) in enumerate(zip(self.writers, self._waiting)):
            for block, place in _in_order(waiting):
                writer.append(_narrowed(block))
                self.stretch_of_row[number][place] = self.stretches
            waiting.clear()
        self._bytes = 0
        self.stretches += 1


def _in_order(blocks: Sequence[tuple[Block, np.ndarray]]) -> Iterator[tuple[Block, np.ndarray]]:
    """The rows of all blocks in the order of their places, with these, some thousand at a time."""
    places = np.sort(np.concatenate([place for _, place in blocks])) if blocks else np.empty(0)
    for start in range(0, len(places), _ROWS):
        wanted = places[start : start + _ROWS]
        # Each block is in order itself, so what it has of these is one part of it.
        bounds = [np.searchsorted(place, [wanted[0], wanted[-1] + 1]) for _, place in blocks]
        found = [(pair, cut) for pair, cut in zip(blocks, bounds) if cut[0] < cut[1]]
        place = np.concatenate([place[slice(*cut)] for (_, place), cut in found])
        parts = [block.part(*cut) for (block, _), cut in found]
        yield Block.merged(parts, np.searchsorted(wanted, place)), wanted


def _narrowed(block: Block) -> Block:
    sequences = {
        name: Ragged(narrow(ragged.values), ragged.offsets)
        for name, ragged in block.sequences.items()
    }
    return replace(block, categorical=narrow(block.categorical), sequences=sequences)
