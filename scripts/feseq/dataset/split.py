"""Which rows are held out: the newest, or those of groups that are never learned from.

A cut always runs between two values of a column, never through the rows of one: no time and no
group is on both sides. Held-out rows may be cut once more by the same rule: those behind that cut
are holdout rows, for reporting alone.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np

from ..common.errors import UserError
from ..config.sampling import Sampling, Split
from ..raw.reading import RawTable
from .selection import HOLDOUT, TRAIN, VALIDATION
from .split_columns import Times, read_groups, read_times

logger = logging.getLogger(__name__)

# A row in no part.
_OUT = -1
# What the log calls a part.
_NAMES = {TRAIN: "train", VALIDATION: "validation", HOLDOUT: "holdout"}
# A cut that misses the share asked for by such a factor is worth a warning.
_FAR_OFF = 1.5


@dataclass(frozen=True)
class KeyedRows:
    """Some rows' times and groups, each [rows] or None; `where` names their file."""

    time: np.ndarray | None
    group: np.ndarray | None
    split: Split
    where: str

    @property
    def key(self) -> tuple[np.ndarray, str]:
        """What rows are cut by, and how messages call that column."""
        key, column = self.time, self.split.time
        if key is None:
            key, column = self.group, self.split.group
        assert key is not None, "a split by a column"
        return key, f"{self.where}: column {column!r}"

    def take(self, rows: np.ndarray) -> "KeyedRows":
        """Those where `rows` is true."""
        time, group = (None if key is None else key[rows] for key in (self.time, self.group))
        return replace(self, time=time, group=group)


def split_rows(file: RawTable, labels: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The part of each row of the file, int8 as in a Selection; less than 0: in none.

    By time, the newest rows are held out: those of the `last` values, or of as many values as come
    nearest to `valid_share` of the rows. By group, some groups drawn at random. By both, the newest
    rows without those of a group that has older rows; these are in no part. Of the held-out rows, a
    share, `holdout_share`, are holdout rows. Raises UserError if a part lacks rows of a label.
    """
    rows, times = keyed_rows(file, sampling)
    part = cut_off(rows, sampling.valid_share, sampling.split.last)
    held = part == VALIDATION
    if sampling.holdout_share and held.any():
        again = cut_off(_in_order(rows.take(held), sampling.seed), sampling.holdout_share)
        part[held] = np.array([VALIDATION, HOLDOUT, _OUT], np.int8)[again]
    _log_parts(part, labels, rows, times)
    return part


def keyed_rows(file: RawTable, sampling: Sampling) -> tuple[KeyedRows, Times | None]:
    """All rows of a file with what the split looks at, and the times, if it looks at them."""
    split = sampling.split
    times = read_times(file, split.time) if split.time else None
    group = read_groups(file, split.group, sampling.seed) if split.group else None
    return KeyedRows(times.key if times else None, group, split, str(file.location)), times


def cut_off(rows: KeyedRows, share: float, last: int | None = None) -> np.ndarray:
    """int8 [rows]: TRAIN before the cut, VALIDATION behind it, or less than 0: in no part.

    The cut leaves the rows of the `last` values behind it, or about `share` of all.
    """
    key, column = rows.key
    start = _start(np.sort(key), share, last, column)
    part = (key >= start).astype(np.int8)
    if rows.time is not None and rows.group is not None:
        older = np.sort(rows.group[part == TRAIN])
        place = np.searchsorted(older, rows.group).clip(max=len(older) - 1)
        part[(part == VALIDATION) & (older[place] == rows.group)] = _OUT
    return part


def _start(ascending: np.ndarray, share: float, last: int | None, column: str) -> float:
    """The lowest of the values that are held out."""
    total = len(ascending)
    if total == 0 or ascending[0] == ascending[-1]:
        raise UserError(
            f"{column} has one value in all of {total:,} rows, and rows of one value stay "
            f"together: name another column in sampling.split"
        )
    if last is not None:
        firsts = np.flatnonzero(np.diff(ascending)) + 1
        if last > len(firsts):
            raise UserError(
                f"{column} has {len(firsts) + 1:,} values, and sampling.split.last holds out "
                f"{last:,} of them; at most {len(firsts):,} leave something to learn from"
            )
        return ascending[firsts[-last]]
    # The two ends of the rows that lie where the cut would be.
    value = ascending[min(int(total * (1 - share)), total - 1)]
    ends = (np.searchsorted(ascending, value, side) for side in ("left", "right"))
    cut = min(
        (end for end in ends if 0 < end < total), key=lambda end: abs(total - end - share * total)
    )
    found = (total - cut) / total
    if max(found / share, share / found) > _FAR_OFF:
        logger.warning(
            "%s: rows of one value stay together, so %.3g of the rows are held out, not %.3g",
            column,
            found,
            share,
        )
    return ascending[cut]


def _in_order(rows: KeyedRows, seed: int) -> KeyedRows:
    """The rows to cut, without their times where all of these are equal."""
    if rows.time is None or (len(rows.time) and rows.time.min() < rows.time.max()):
        return rows
    logger.info("all held-out rows have one %s: holdout rows are drawn at random", rows.split.time)
    group = rows.group
    if group is None:
        # Each row is a group of its own.
        random = np.random.default_rng([seed, HOLDOUT])
        group = random.integers(0, 1 << 64, len(rows.time), np.uint64)
    return replace(rows, time=None, group=group)


def _log_parts(part: np.ndarray, labels: np.ndarray, rows: KeyedRows, times: Times | None) -> None:
    """Log what is in each part; raises UserError if one lacks rows of a label."""
    split, present = rows.split, np.unique(part[part != _OUT])
    by = " and ".join(name for name in (split.time, split.group) if name)
    counts = []
    for number in present.tolist():
        inside = part == number
        count, clicks = int(inside.sum()), int(labels[inside].sum())
        span = ""
        if times is not None:
            ends = [times.text(find(times.key[inside])) for find in (np.min, np.max)]
            span = f", {split.time} {' to '.join(dict.fromkeys(ends))}"
        counts.append(f"{count:,} {_NAMES[number]} rows ({clicks:,} clicks{span})")
    logger.info("split by %s: %s", by, "; ".join(counts))
    if out := int((part == _OUT).sum()):
        logger.warning(
            "%s of %s rows FALL OUT: they are among the newest, and their %s has older rows too",
            f"{out:,}",
            f"{len(part):,}",
            split.group,
        )
    for number in (TRAIN, VALIDATION) if HOLDOUT not in present else (TRAIN, VALIDATION, HOLDOUT):
        found = np.bincount(labels[part == number], minlength=2)
        if found.min() == 0:
            raise UserError(
                f"{rows.where}: split by {by}, {found[0]:,} {_NAMES[number]} rows without and "
                f"{found[1]:,} with a click, and both are needed ({'; '.join(counts)}; {out:,} "
                f"rows fall out); change sampling.split, valid_share or holdout_share"
            )
