"""The facts of the data page: statistics of columns, sequences and tables.

Each table is read once, for a sample of its rows and hashes that find repeated rows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xxhash
from threadpoolctl import threadpool_limits

from ..common.prefetch import prefetch_map
from ..common.progress import Progress
from ..datasets.categories import codes_of
from ..datasets.opening import Files, open_table
from ..datasets.table import Block, RowSubset, Table
from ..features.encoding import TokenLookup
from ..features.feature_map import OUT_OF_VOCABULARY, FeatureMap, SequenceField
from .drift import adversarial_auc, column_auc, stability_index

# Tables that are compared with train.
COMPARED = ("valid", "test")
# Maximum rows of a sample, evenly spaced in the table.
SAMPLE_ROWS = 100_000
# A larger table keeps about this many of its keys (hashes).
MAX_KEYS = 1 << 20
# Shorter sequences have no key, since they are often equal by chance.
MIN_EVENTS = 5
# Click rates are by equal slices of the raw file, and by category for columns with few categories.
POSITION_BINS, _MAX_CATEGORIES = 20, 31
# `test_scale` needs this many nonzero values in train and as many in test.
_MIN_FOR_SCALE = 20
# The column that a split by time or group fills; a random split fills both with zeros.
_SPLIT_MARKS = {"time": "period", "group": "fold"}
# Facts that only some columns have.
_OPTIONAL_FACTS = ("low", "high", "test_outside", "test_scale", "unseen_valid", "unseen_test")

Facts = dict[str, Any]


class TableSample:
    """A sample of a table's rows, and counts and hashes of all its rows.

    rows, clicks    numbers in the whole table
    label           labels of the sampled rows, uint8 [sample]; empty without labels
    row             numbers of the sampled rows in the raw file, int64 [sample]
    frame           the sampled rows [sample, columns]: numbers, codes of categories (0 is missing)
                    and, for each history, its length and its newest event plus one
    counts          in the whole table. counts[..., history]: "events", and "unknown" events (out of
                    vocabulary). counts[..., ""], of events with times: "events", events "later"
                    than their row, "steps" to another time, and steps "back" in time
    keys            by history, hashes of its values of MIN_EVENTS or more events; by '', of rows.
                    In a large table, only hashes that start with `bits` zero bits
    """

    def __init__(self, table: Table, feature_map: FeatureMap, bits: int, threads: int) -> None:
        self.table, self._bits, self._event_time = table, bits, feature_map.event_time
        self.rows, self.clicks = table.rows, 0
        self._lookups = {field.column: TokenLookup(field) for field in feature_map.sequences}
        self.counts: Counter[tuple[str, str]] = Counter()
        frames, labels, rows, keys = [], [np.empty(0, np.uint8)], [], []
        step, start, reading = -(-table.rows // SAMPLE_ROWS) or 1, 0, Progress("read", table.rows)
        # The empty block gives `frame` its columns even if the table has no rows.
        blocks = chain([table.read(0, 0)], table.blocks())
        for block, block_keys in prefetch_map(self._keyed, blocks, threads):
            picked = block.take(np.arange(-start % step, len(block), step))
            if block.label is not None and picked.label is not None:
                self.clicks += int(block.label.sum())
                labels.append(picked.label)
            frames.append(self._frame(picked))
            rows.append(picked.row)
            keys.append(block_keys)
            start += len(block)
            reading.advance(len(block))
        self.frame = pd.concat(frames, ignore_index=True)
        self.label, self.row = np.concatenate(labels), np.concatenate(rows)
        self.keys = {n: pd.Series(np.concatenate([each[n] for each in keys])) for n in keys[0]}

    def share(self, part: str, whole: str, sequence: str = "") -> float:
        """The number `part` in `counts` divided by `whole`, such as `later` by `events`."""
        return self.counts[part, sequence] / max(1, self.counts[whole, sequence])

    def _frame(self, block: Block) -> pd.DataFrame:
        """The rows of a block as part of `frame`; adds their events to `counts`."""
        frame = pd.DataFrame(block.numeric, columns=list(self.table.numeric_columns))
        frame[list(self.table.categorical_columns)] = block.categorical
        for name, lookup in self._lookups.items():
            history = block.sequences[name]
            self.counts["events", name] += len(history.values)
            self.counts["unknown", name] += int((lookup(history.values) == OUT_OF_VOCABULARY).sum())
            newest, has_events = np.zeros(len(history), np.uint64), history.lengths > 0
            ends = history.offsets[1:][has_events]
            newest[has_events] = history.values[ends - 1].astype(np.uint64) + np.uint64(1)
            frame[f"length of {name}"], frame[f"newest of {name}"] = history.lengths, newest
        if self._event_time is not None and block.time is not None:
            times = block.sequences[self._event_time]
            row = np.repeat(np.arange(len(times)), times.lengths)
            values = times.values.astype(np.int64)
            step = np.diff(values)[np.diff(row) == 0]
            self.counts["events", ""] += len(row)
            self.counts["later", ""] += int((values > block.time[row]).sum())
            self.counts["steps", ""] += int((step != 0).sum())
            self.counts["back", ""] += int((step < 0).sum())
        return frame

    def _keyed(self, block: Block) -> tuple[Block, dict[str, np.ndarray]]:
        """The block, unchanged, and the keys of its sequences and rows, uint64."""
        keys = {}
        for name in self._lookups:
            history = block.sequences[name]
            events = history.values.astype(np.int64)
            keys[name] = _hashes(events[start:stop] for start, stop in pairwise(history.offsets))
        # Rows are compared by the bits of their numbers: equal raw values have equal bits.
        numbers = block.numeric.view(np.uint32)
        rows = np.column_stack([numbers, block.categorical, *keys.values()])
        for name, key in keys.items():
            keys[name] = key[block.sequences[name].lengths >= MIN_EVENTS]
        keys[""] = _hashes(rows)
        low = np.uint64(2 ** (64 - self._bits) - 1)
        return block, {name: key[key <= low] for name, key in keys.items()}


def _hashes(rows: Iterable[np.ndarray]) -> np.ndarray:
    """A hash of each row's bytes, uint64 [rows]."""
    return np.fromiter((xxhash.xxh3_64_intdigest(row.data) for row in rows), np.uint64)


Samples = Mapping[str, TableSample]


def describe(
    train_h5: Files,
    valid_h5: Files,
    test_h5: Files,
    feature_map_json: Path,
    *,
    size: str,
    threads: int = 1,
) -> Facts:
    """Statistics of the train, validation and test rows of a size, ready for JSON.

    Counts of rows, clicks, and repeated rows and histories are of all rows, other statistics of a
    sample. Without test files, the test table has 0 rows.
    """
    feature_map = FeatureMap.read(feature_map_json)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(threads))
        train, valid = (stack.enter_context(open_table(each)) for each in (train_h5, valid_h5))
        no_rows = RowSubset(train, np.arange(0))
        test = stack.enter_context(open_table(test_h5)) if test_h5 else no_rows
        tables = {"train": train, "valid": valid, "test": test}
        largest = max(table.rows for table in tables.values())
        bits = max(0, int(np.ceil(np.log2(max(1, largest) / MAX_KEYS))))
        samples = {n: TableSample(table, feature_map, bits, threads) for n, table in tables.items()}
        numbers = _numbers(samples)
        return {
            "size": size,
            "simulated_data": bool(train.source["simulated"]),
            "split_by": next((by for by, n in _SPLIT_MARKS.items() if valid.column(n).any()), None),
            "rows": {name: sample.rows for name, sample in samples.items()},
            "clicks": {name: samples[name].clicks for name in ("train", "valid")},
            "sampled_rows": {name: len(sample.frame) for name, sample in samples.items()},
            "columns": [
                _column(samples, numbers, feature_map, name) for name in samples["train"].frame
            ],
            "click_rates": _click_rates(samples),
            "sequences": [_sequence(samples, field) for field in feature_map.sequences],
            "later_events": {name: s.share("later", "events") for name, s in samples.items()},
            "backward_steps": {name: s.share("back", "steps") for name, s in samples.items()},
            "same_rows": _same_rows(samples),
            "adversary": {
                name: adversarial_auc(numbers["train"], numbers[name]) for name in COMPARED
            },
        }


def _numbers(samples: Samples) -> dict[str, pd.DataFrame]:
    """Each sample's frame as numbers, NaN if missing; a category has one number in all samples."""
    frames = pd.concat({name: sample.frame for name, sample in samples.items()})
    for column in frames.select_dtypes(np.uint64):
        is_missing = frames[column] == 0
        codes, distinct = pd.factorize(frames[column])
        # The order is random; otherwise, categories that are new in the test would come last.
        codes = np.random.default_rng(1).permutation(len(distinct))[codes]
        frames[column] = np.where(is_missing, np.nan, codes)
    return {
        name: frames.loc[name] if sample.rows else frames[:0] for name, sample in samples.items()
    }


def _column(
    samples: Samples, numbers: Mapping[str, pd.DataFrame], feature_map: FeatureMap, name: str
) -> Facts:
    """The facts of one column; `low` and `high` are the range in all train rows."""
    train = samples["train"]
    is_numeric, is_category = (
        name in names for names in (train.table.numeric_columns, train.table.categorical_columns)
    )
    values = {table: frame[name].to_numpy() for table, frame in numbers.items()}
    is_code = train.frame[name].dtype == np.uint64
    entry: Facts = {
        "column": name,
        "role": "numeric" if is_numeric else "category" if is_category else name.split()[0],
        "distinct": int(pd.Series(values["train"]).nunique()),
        "click_auc": column_auc(values["train"], train.label, is_code),
        **dict.fromkeys(_OPTIONAL_FACTS),
    }
    for table, column in values.items():
        entry[f"missing_{table}"] = float(np.isnan(column).mean()) if len(column) else None
        if table in COMPARED:
            psi = stability_index(values["train"], column, is_code) if len(column) else None
            entry[f"psi_{table}"] = psi
    if is_numeric:
        field = next(f for f in feature_map.numeric if f.column == name)
        entry |= _numeric(values["train"], values["test"], field.minimum, field.maximum)
    fields = {field.column: field for field in (*feature_map.categories, *feature_map.ids)}
    if name in fields:
        words = fields[name].vocabulary
        vocabulary = codes_of(words) if is_code else np.array(words, np.float32)
        for table in COMPARED:
            is_new = ~np.isin(samples[table].frame[name], vocabulary) & ~np.isnan(values[table])
            entry[f"unseen_{table}"] = float(is_new.mean()) if len(is_new) else None
    return entry


def _numeric(train: np.ndarray, test: np.ndarray, low: float, high: float) -> Facts:
    """Facts that compare test values with train values; `low` and `high` are the train range."""
    finite = test[np.isfinite(test)]
    sizes = [np.abs(values[np.isfinite(values) & (values != 0)]) for values in (train, test)]
    has_scale = min(map(len, sizes)) >= _MIN_FOR_SCALE
    return {
        "low": low,
        "high": high,
        "test_outside": float(((finite < low) | (finite > high)).mean()) if len(finite) else None,
        # The median absolute nonzero test value, divided by the median of train values.
        "test_scale": float(np.median(sizes[1]) / np.median(sizes[0])) if has_scale else None,
    }


def _click_rates(samples: Samples) -> list[Facts]:
    """Rows and clicks of train and validation, by position in the raw file and by category.

    `test_rows` counts test rows by category; by position it is 0.
    """
    labelled = [samples["train"], samples["valid"]]
    counts = pd.DataFrame({"clicks": np.concatenate([each.label for each in labelled], dtype=int)})
    counts = counts.assign(rows=1, test_rows=0)
    test_counts = pd.DataFrame(0, samples["test"].frame.index, counts.columns).assign(test_rows=1)
    # Row numbers can exceed the recorded rows if a longer file has replaced the raw file.
    raw_rows = max(1, int(labelled[0].table.source["rows"]))
    row = np.concatenate([each.row for each in labelled])
    along = counts.groupby(np.minimum(row * POSITION_BINS // raw_rows, POSITION_BINS - 1)).sum()
    along["value"] = (along.index + 1).astype(str)
    rates = [{"column": None, "values": along.to_dict("records")}]
    all_counts = pd.concat([counts, test_counts])
    for column in labelled[0].table.categorical_columns:
        codes = np.concatenate([sample.frame[column] for sample in samples.values()])
        table = all_counts.groupby(codes).sum()
        if 1 < len(table) <= _MAX_CATEGORIES:
            vocabularies = [sample.table.vocabulary(column) for sample in samples.values()]
            words = {code: word for v in vocabularies for code, word in zip(codes_of(v), v)}
            table["value"] = pd.Series(map(words.get, table.index), table.index, dtype=object)
            order = sorted(table.index, key=lambda code: _order(words.get(code)))
            rates.append({"column": column, "values": table.loc[order].to_dict("records")})
    return rates


def _order(word: str | None) -> tuple[int, str]:
    """Sort key: a missing word first, then whole numbers by size (also 00 to 09), then others."""
    if word is None:
        return -1, ""
    return int(word) if word.isdecimal() else 1 << 63, word


def _sequence(samples: Samples, field: SequenceField) -> Facts:
    """A sequence's lengths by table, and the shares of sequences that are also in train."""
    name = field.column
    lengths = {t: sample.frame[f"length of {name}"] for t, sample in samples.items() if sample.rows}
    keys = {table: sample.keys[name] for table, sample in samples.items()}
    return {
        "column": name,
        "tokens": len(field.vocabulary),
        "mean": {table: _mean(length) for table, length in lengths.items()},
        "longest": {table: int(length.max()) for table, length in lengths.items()},
        "none": {table: _mean(length == 0) for table, length in lengths.items()},
        **{f"unseen_{t}": samples[t].share("unknown", "events", name) for t in COMPARED},
        "twice_in_train": _mean(keys["train"].duplicated(keep=False)),
        "in_train": {other: _mean(keys[other].isin(keys["train"])) for other in COMPARED},
    }


def _same_rows(samples: Samples) -> Facts:
    """Shares of rows that equal a row of another table; `known` is train and valid together."""
    train, valid, test = (sample.keys[""] for sample in samples.values())
    known = pd.concat([train, valid])
    return {
        "valid_in_train": _mean(valid.isin(train)),
        "test_in_known": _mean(test.isin(known)),
        "known_in_test": _mean(known.isin(test)),
    }


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else 0.0
