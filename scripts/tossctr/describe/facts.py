"""The facts of the data page: train, validation and test, column by column and together."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..datasets.categories import codes_of
from ..datasets.opening import Files, open_table
from ..datasets.table import SomeRows
from ..features.feature_map import FeatureMap, SequenceField
from .drift import adversary, auc_alone, stability_index
from .sample import Sample

# Tables that are compared with train.
OTHERS = ("valid", "test")
# Keys of rows and sequences to keep, about; of more rows, a share of the keys is kept.
KEYS = 1 << 20
# Equal parts of the raw file, in its order, and the most categories whose click rates are shown.
PLACES, _MOST_CATEGORIES = 20, 31
# Values other than 0 on each side that a scale needs.
_LEAST_FOR_SCALE = 20
# Facts that not all columns have.
_OF_SOME = ("low", "high", "test_outside", "test_scale", "unseen_test")

Samples = Mapping[str, Sample]
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

    Each table is read once, as a stream. Rows, clicks, and rows and sequences that are met again
    are those of all rows; other facts are those of a sample, whose rows `sampled_rows` counts.
    Without test files the test has 0 rows.
    """
    feature_map = FeatureMap.read(feature_map_json)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(threads))
        train, valid = (stack.enter_context(open_table(each)) for each in (train_h5, valid_h5))
        no_rows = SomeRows(train, np.arange(0))
        test = stack.enter_context(open_table(test_h5)) if test_h5 else no_rows
        tables = {"train": train, "valid": valid, "test": test}
        largest = max(table.rows for table in tables.values())
        bits = max(0, int(np.ceil(np.log2(max(1, largest) / KEYS))))
        samples = {n: Sample(table, feature_map, bits, threads) for n, table in tables.items()}
        numbers = _numbers(samples)
        return {
            "size": size,
            "simulated_data": bool(train.source["simulated"]),
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
            "adversary": {name: adversary(numbers["train"], numbers[name]) for name in OTHERS},
        }


def _numbers(samples: Samples) -> dict[str, pd.DataFrame]:
    """The samples as numbers, NaN where missing: a category has one number in all tables."""
    frames = pd.concat({name: sample.frame for name, sample in samples.items()})
    for column in frames.select_dtypes(np.uint64):
        is_missing = frames[column] == 0
        frames[column] = np.where(is_missing, np.nan, pd.factorize(frames[column])[0])
    return {
        name: frames.loc[name] if sample.rows else frames[:0] for name, sample in samples.items()
    }


def _column(
    samples: Samples, numbers: Mapping[str, pd.DataFrame], feature_map: FeatureMap, name: str
) -> Facts:
    """One row of the table of columns; `low` and `high` are of all train rows."""
    train, test = samples["train"], samples["test"]
    is_numeric, is_category = (
        name in names for names in (train.table.numeric_columns, train.table.categorical_columns)
    )
    values = {table: frame[name].to_numpy() for table, frame in numbers.items()}
    is_code = train.frame[name].dtype == np.uint64
    entry: Facts = {
        "column": name,
        "role": "numeric" if is_numeric else "category" if is_category else name.split()[0],
        "distinct": int(pd.Series(values["train"]).nunique()),
        "click_auc": auc_alone(values["train"], train.label, is_code),
        **dict.fromkeys(_OF_SOME),
    }
    for table, known in values.items():
        entry[f"missing_{table}"] = float(np.isnan(known).mean()) if len(known) else None
        if table in OTHERS:
            psi = stability_index(values["train"], known, is_code) if len(known) else None
            entry[f"psi_{table}"] = psi
    if is_numeric:
        field = next(f for f in feature_map.numeric if f.column == name)
        entry |= _numeric(values["train"], values["test"], field.minimum, field.maximum)
    levels = {f.column: np.array(f.vocabulary, np.float32) for f in feature_map.ids}
    if name in levels and test.rows:
        is_known = np.isin(values["test"], levels[name]) | np.isnan(values["test"])
        entry["unseen_test"] = float((~is_known).mean())
    if is_category and test.rows:
        known = codes_of(next(f.vocabulary for f in feature_map.categories if f.column == name))
        codes = test.frame[name]
        entry["unseen_test"] = float((~codes.isin(known) & (codes > 0)).mean())
    return entry


def _numeric(train: np.ndarray, test: np.ndarray, low: float, high: float) -> Facts:
    """Test values compared with the range of all train rows, and with train's values."""
    known = test[np.isfinite(test)]
    sizes = [np.abs(values[np.isfinite(values) & (values != 0)]) for values in (train, test)]
    has_scale = min(map(len, sizes)) >= _LEAST_FOR_SCALE
    return {
        "low": low,
        "high": high,
        "test_outside": float(((known < low) | (known > high)).mean()) if len(known) else None,
        # The median size of test values by that of train values, without zeros.
        "test_scale": float(np.median(sizes[1]) / np.median(sizes[0])) if has_scale else None,
    }


def _click_rates(samples: Samples) -> list[Facts]:
    """Rows and clicks of train and validation along the raw file and by category.

    `test_rows` are those of the test, 0 along the file, since the test is another file.
    """
    known = [samples["train"], samples["valid"]]
    counts = pd.DataFrame({"clicks": np.concatenate([each.label for each in known], dtype=int)})
    counts = counts.assign(rows=1, test_rows=0)
    of_test = pd.DataFrame(0, samples["test"].frame.index, counts.columns).assign(test_rows=1)
    # If a longer file has replaced the raw file, rows can lie behind the end on record.
    raw_rows = max(1, int(known[0].table.source["rows"]))
    row = np.concatenate([each.row for each in known])
    places = counts.groupby(np.minimum(row * PLACES // raw_rows, PLACES - 1)).sum()
    places = places.assign(value=[str(place + 1) for place in places.index])
    rates = [{"column": None, "values": places.to_dict("records")}]
    both = pd.concat([counts, of_test])
    for column in known[0].table.categorical_columns:
        codes = np.concatenate([sample.frame[column] for sample in samples.values()])
        table = both.groupby(codes).sum()
        if 1 < len(table) <= _MOST_CATEGORIES:
            vocabularies = [sample.table.vocabulary(column) for sample in samples.values()]
            words = {code: word for of in vocabularies for code, word in zip(codes_of(of), of)}
            table["value"] = pd.Series(map(words.get, table.index), table.index, dtype=object)
            # Missing first, then whole numbers by size, then other words.
            order = sorted(table.index, key=lambda code: (min(code, 1 << 63), words.get(code)))
            rates.append({"column": column, "values": table.loc[order].to_dict("records")})
    return rates


def _sequence(samples: Samples, field: SequenceField) -> Facts:
    """Lengths of a sequence by table, and the shares of rows whose sequence is in train, too."""
    name, test = field.column, samples["test"]
    lengths = {t: sample.frame[f"length of {name}"] for t, sample in samples.items() if sample.rows}
    keys = {table: pd.Series(sample.keys[name]) for table, sample in samples.items()}
    return {
        "column": name,
        "tokens": len(field.vocabulary),
        "mean": {table: _mean(of) for table, of in lengths.items()},
        "longest": {table: int(of.max()) for table, of in lengths.items()},
        "none": {table: _mean(of == 0) for table, of in lengths.items()},
        "unseen_test": test.share("unknown", "events", name) if test.rows else None,
        "twice_in_train": _mean(keys["train"].duplicated(keep=False)),
        "in_train": {other: _mean(keys[other].isin(keys["train"])) for other in OTHERS},
    }


def _same_rows(samples: Samples) -> Facts:
    """Shares of rows that are rows of another table in all features; `known` is train and valid."""
    train, valid, test = (pd.Series(sample.keys[""]) for sample in samples.values())
    known = pd.concat([train, valid])
    return {
        "valid_in_train": _mean(valid.isin(train)),
        "test_in_known": _mean(test.isin(known)),
        "known_in_test": _mean(known.isin(test)),
    }


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else 0.0
