"""The facts of the data page: train, validation and test, column by column and together."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..common.progress import Progress
from ..features.feature_map import FeatureMap, SequenceField
from ..storage.opening import Files, open_table
from ..storage.table import SomeRows
from .columns import auc_alone, middle_share, missing_blocks, same_columns, value_kind
from .counts import LENGTHS, PLACES, Counts
from .drift import adversary, stability_index

logger = logging.getLogger(__name__)

# Tables that are compared with train.
OTHERS = ("valid", "test")
# Keys of rows and sequences to keep, about; of more rows, a share of the keys is kept.
KEYS = 1 << 20
# Columns of more categories are not shown category by category.
_MOST_CATEGORIES = 31
_CORRELATED_ROWS = 20_000
# Values other than 0 on each side that a scale needs.
_LEAST_FOR_SCALE = 20

Tables = Mapping[str, Counts]
Facts = dict[str, Any]


def describe(
    train_h5: Files,
    valid_h5: Files,
    test_h5: Files,
    feature_map_json: Path,
    *,
    size: str,
    threads: int = 1,
) -> Facts:
    """All facts, as JSON holds them.

    Each table is read once, as a stream. Counts are of all rows, facts of single columns of a
    sample, whose rows `sampled_rows` counts. Without test files the test has 0 rows. `table_rows`
    are those of the raw train table.
    """
    feature_map = FeatureMap.read(feature_map_json)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(threads))
        train_rows = stack.enter_context(open_table(train_h5))
        valid_rows = stack.enter_context(open_table(valid_h5))
        no_rows = SomeRows(train_rows, np.arange(0))
        test_rows = stack.enter_context(open_table(test_h5)) if test_h5 else no_rows
        opened = {"train": train_rows, "valid": valid_rows, "test": test_rows}
        largest = max(table.rows for table in opened.values())
        bits = max(0, int(np.ceil(np.log2(max(1, largest) / KEYS))))
        tables = {name: Counts(table, feature_map, bits, threads) for name, table in opened.items()}
        simulated, table_rows = bool(train_rows.source["simulated"]), train_rows.source["rows"]
    train, samples = tables["train"], _numbers(tables)
    numeric = list(train.table.numeric_columns)
    blocks = missing_blocks(samples["train"][[*numeric, *train.words]])
    columns, described = [], Progress("described", len(samples["train"].columns), "columns")
    for name in samples["train"]:
        columns.append(_column(tables, samples, feature_map, name))
        described.advance(1)
    logger.info("columns described; training trees to tell other rows from train rows")
    return {
        "size": size,
        "simulated_data": simulated,
        "rows": {name: table.rows for name, table in tables.items()},
        "clicks": {name: tables[name].clicks for name in ("train", "valid")},
        "table_rows": table_rows,
        "min_count": feature_map.min_count,
        "sampled_rows": {name: len(sample) for name, sample in samples.items()},
        "columns": columns,
        "missing_blocks": [
            {"columns": names, "rows": int(rows.sum()), "clicks": int(train.label[rows].sum())}
            for names, rows in blocks
        ],
        "alike": same_columns(samples["train"][numeric][:_CORRELATED_ROWS]),
        "click_rates": _click_rates(tables),
        "sequences": [_sequence(tables, field) for field in feature_map.sequences],
        "later_events": {name: table.later_share for name, table in tables.items()},
        "backward_steps": {name: table.backward_share for name, table in tables.items()},
        "same_rows": _same_rows(tables),
        "adversary": {name: adversary(samples["train"], samples[name]) for name in OTHERS},
    }


def _numbers(tables: Tables) -> dict[str, pd.DataFrame]:
    """The samples as numbers: a category or event has one number in all tables."""
    samples = pd.concat({name: table.sample for name, table in tables.items()})
    for column in samples.select_dtypes(exclude="number"):
        codes = pd.factorize(samples[column].astype(object))[0].astype(np.float64)
        samples[column] = np.where(codes < 0, np.nan, codes)
    return {name: samples.loc[name] if len(tables[name].sample) else samples[:0] for name in tables}


def _column(
    tables: Tables, samples: Mapping[str, pd.DataFrame], feature_map: FeatureMap, name: str
) -> Facts:
    """One row of the table of columns; `low` and `high` are of all train rows."""
    train, test = tables["train"], tables["test"]
    numeric = list(train.table.numeric_columns)
    role = "numeric" if name in numeric else "category" if name in train.words else name.split()[0]
    is_category = role in ("category", "newest")
    values = {table: sample[name].to_numpy() for table, sample in samples.items()}
    kind, distinct = value_kind(values["train"])
    entry: Facts = {
        "column": name,
        "role": role,
        "kind": "categories" if is_category else kind,
        "distinct": distinct,
        "click_auc": auc_alone(values["train"], train.label, is_category),
        # Facts that not all columns have.
        **dict.fromkeys(("low", "high", "middle_share", "test_outside", "test_scale")),
        **dict.fromkeys(("infinite", "unseen_test", "missing_word", "missing_word_share")),
    }
    for other in OTHERS:
        psi = stability_index(values["train"], values[other], is_category)
        entry[f"psi_{other}"] = psi if len(values[other]) else None
    for table, counts in tables.items():
        if role == "numeric":
            missing = counts.numbers[0, numeric.index(name)]
        else:
            group = f"length of {name.removeprefix('newest of ')}" if role == "newest" else name
            missing = counts.groups[group][0, 0]
        entry[f"missing_{table}"] = int(missing) / counts.rows if counts.rows else None
    if role == "numeric":
        i = numeric.index(name)
        entry["infinite"] = sum(int(counts.numbers[1, i]) for counts in tables.values())
        field = next(f for f in feature_map.numeric if f.column == name)
        entry |= _numeric(values["train"], values["test"], field.minimum, field.maximum)
        known = next((f.vocabulary for f in feature_map.ids if f.column == name), None)
        if known is not None and test.rows:
            is_known = np.isin(values["test"], np.array(known, np.float32))
            entry["unseen_test"] = float((~is_known & ~np.isnan(values["test"])).mean())
    if role == "category":
        vocabulary = next(f.vocabulary for f in feature_map.categories if f.column == name)
        unknown = ~pd.Index(test.words[name]).isin(vocabulary)
        unseen = int(test.groups[name][1:, 0][unknown].sum())
        entry["unseen_test"] = unseen / test.rows if test.rows else None
        entry |= _said_missing(tables, name)
    return entry


def _said_missing(tables: Tables, name: str) -> Facts:
    """The most frequent text that means missing, and its share of the rows of a table."""
    shares = [item for counts in tables.values() for item in counts.said_missing(name).items()]
    word, share = max(shares, key=lambda item: item[1], default=(None, None))
    return {"missing_word": word, "missing_word_share": share}


def _numeric(train: np.ndarray, test: np.ndarray, low: float, high: float) -> Facts:
    """Test values compared with the range of all train rows, and with train's values."""
    known = test[np.isfinite(test)]
    sizes = [np.abs(values[np.isfinite(values) & (values != 0)]) for values in (train, test)]
    has_scale = min(map(len, sizes)) >= _LEAST_FOR_SCALE
    return {
        "low": low,
        "high": high,
        "middle_share": middle_share(train, low, high),
        "test_outside": float(((known < low) | (known > high)).mean()) if len(known) else None,
        # The median size of test values by that of train values, without zeros.
        "test_scale": float(np.median(sizes[1]) / np.median(sizes[0])) if has_scale else None,
    }


def _click_rates(tables: Tables) -> list[Facts]:
    """Rows and clicks of train and validation along the raw file and by category.

    `test_rows` are those of the test, 0 along the file, since the test is another file.
    """

    places: list[Any] = [str(i + 1) for i in range(PLACES)]
    rates = []
    for column in (None, *tables["train"].words):
        counts = []
        for name in ("train", "valid") if column is None else tables:
            table = tables[name]
            frame = pd.DataFrame(table.groups[column], columns=["rows", "clicks"])
            values = places if column is None else [None, *table.words[column]]
            frame = frame.assign(value=values, test_rows=0)
            if name == "test":
                frame = frame.assign(rows=0, test_rows=frame["rows"])
            counts.append(frame)
        sums = pd.concat(counts).groupby("value", dropna=False, sort=False).sum()
        sums = sums[sums["rows"] + sums["test_rows"] > 0]
        words = [None if pd.isna(word) else word for word in sums.index]
        if column is None or 1 < len(words) <= _MOST_CATEGORIES:
            records = sums.assign(value=pd.Series(words, sums.index, object)).to_dict("records")
            rates.append({"column": column, "values": sorted(records, key=_in_order)})
    return rates


def _in_order(entry: Facts) -> tuple[int, float, str]:
    """Missing first, then whole numbers by size, then other words."""
    word = entry["value"]
    if word is None:
        return 0, 0, ""
    return (1, float(word), word) if word.isdecimal() else (2, 0, word)


def _sequence(tables: Tables, field: SequenceField) -> Facts:
    """Lengths of a sequence by table, and the shares of rows whose sequence is in train, too."""
    name = field.column
    length = f"length of {name}"
    groups = {table: counts.groups[length] for table, counts in tables.items()}
    bins = pd.DataFrame({table: counts[:, 0] for table, counts in groups.items()})
    known = groups["train"] + groups["valid"]
    lengths = tables["train"].sample[length]
    keys = {table: pd.Series(counts.keys[name]) for table, counts in tables.items()}
    test = tables["test"]
    _, events, unseen = test.events[name].tolist()
    return {
        "column": name,
        "median": float(lengths.median()) if len(lengths) else None,
        "lengths": bins.assign(start=LENGTHS, rows=known[:, 0], clicks=known[:, 1]).to_dict(
            "records"
        ),
        "tokens": len(field.vocabulary),
        "unseen_test": unseen / max(1, events) if test.rows else None,
        **_said_missing(tables, name),
        "twice_in_train": _mean(keys["train"].duplicated(keep=False)),
        "mean": {table: int(c.events[name][0]) / max(1, c.rows) for table, c in tables.items()},
        "longest": {table: counts.longest[name] for table, counts in tables.items()},
        "in_train": {other: _share_in(keys[other], keys["train"]) for other in OTHERS},
    }


def _same_rows(tables: Tables) -> Facts:
    """Shares of rows that are rows of another table in all features; `known` is train and valid."""
    train, valid, test = (pd.Series(counts.keys[""]) for counts in tables.values())
    known = pd.concat([train, valid])
    return {
        "valid_in_train": _share_in(valid, train),
        "test_in_known": _share_in(test, known),
        "known_in_test": _share_in(known, test),
    }


def _share_in(keys: pd.Series, others: pd.Series) -> float:
    """The share of rows whose key is one of the `others`."""
    return _mean(keys.isin(others))


def _mean(flags: pd.Series) -> float:
    return float(flags.mean()) if len(flags) else 0.0
