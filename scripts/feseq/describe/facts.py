"""The facts of the data page: train, validation and test, column by column and together."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..dataset.feature_map import FeatureMap, SequenceField
from ..dataset.opening import Files, open_table
from ..dataset.table import reported
from .columns import auc_alone, kind_of, middle_share, missing_blocks, same_columns
from .counts import KEYS, LENGTHS, Counts, repeated_share, shared_share
from .drift import MUCH_DRIFT, adversary, stability_index

# The tables that are compared with train.
OTHERS = ("valid", "test")
# Columns of more categories are not shown category by category.
_MOST_CATEGORIES = 31
_CORRELATED_ROWS = 20_000
# Values other than 0 on each side that a scale needs.
_LEAST_FOR_SCALE = 20

Tables = Mapping[str, Counts]


def describe(
    train_h5: Files,
    valid_h5: Files,
    test_h5: Files,
    feature_map_json: Path,
    *,
    size: str,
    threads: int = 1,
) -> dict[str, Any]:
    """All facts, as JSON holds them.

    Each table is read once, as a stream. Counts are of all rows, facts of single columns of a
    sample, whose rows `sampled_rows` counts.
    """
    feature_map = FeatureMap.read(feature_map_json)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(threads))
        files = {"train": train_h5, "valid": valid_h5, "test": test_h5}
        opened = {name: stack.enter_context(open_table(of)) for name, of in files.items()}
        largest = max(table.rows for table in opened.values())
        bits = max(0, int(np.ceil(np.log2(max(1, largest) / KEYS))))
        tables = {name: Counts(table, feature_map, bits, threads) for name, table in opened.items()}
        is_reported = reported(opened["valid"].holdout)
        label = opened["valid"].column("label")
        simulated = bool(opened["train"].source["simulated"])
    samples = _numbers(tables)
    columns = [_column(tables, samples, feature_map, name) for name in samples["train"]]
    return {
        "size": size,
        "simulated_data": simulated,
        "rows": {name: table.rows for name, table in tables.items()},
        "clicks": {name: tables[name].clicks for name in ("train", "valid")},
        "reported": {"rows": int(is_reported.sum()), "clicks": int(label[is_reported].sum())},
        "sampled_rows": {name: len(sample) for name, sample in samples.items()},
        "columns": columns,
        **_groups(tables["train"], samples["train"]),
        "click_rates": _click_rates(tables),
        "sequences": [_sequence(tables, field) for field in feature_map.sequences],
        "same_rows": _same_rows(tables),
        "adversary": {name: _adversaries(samples, columns, name) for name in OTHERS},
    }


def _numbers(tables: Tables) -> dict[str, pd.DataFrame]:
    """The samples as numbers: a category or event has one number in all tables."""
    samples = {name: table.sample.copy() for name, table in tables.items()}
    ends = np.cumsum([len(sample) for sample in samples.values()])[:-1]
    for column in samples["train"].select_dtypes(exclude="number"):
        words = pd.concat([sample[column].astype(object) for sample in samples.values()])
        codes = pd.factorize(words)[0].astype(np.float64)
        codes[codes < 0] = np.nan
        for sample, part in zip(samples.values(), np.split(codes, ends)):
            sample[column] = part
    return samples


def _column(
    tables: Tables, samples: Mapping[str, pd.DataFrame], feature_map: FeatureMap, name: str
) -> dict[str, Any]:
    train = tables["train"]
    numeric = list(train.table.numeric_columns)
    role = "numeric" if name in numeric else "category" if name in train.words else name.split()[0]
    is_category = role in ("category", "newest")
    values = {table: sample[name].to_numpy() for table, sample in samples.items()}
    kind, distinct = kind_of(values["train"])
    entry: dict[str, Any] = {
        "column": name,
        "role": role,
        "kind": "categories" if is_category else kind,
        "distinct": distinct,
        "click_auc": auc_alone(values["train"], train.label, is_category),
        "stability_index": {
            other: stability_index(values["train"], values[other], is_category) for other in OTHERS
        },
    }
    if role == "numeric":
        i = numeric.index(name)
        missing = {table: int(found.missing[i]) for table, found in tables.items()}
        entry["infinite"] = {table: int(found.infinite[i]) for table, found in tables.items()}
        field = next(f for f in feature_map.numeric if f.column == name)
        entry |= _numeric(values["train"], values["test"], field.minimum, field.maximum)
    else:
        group = name.replace("newest of ", "length of ")
        missing = {table: int(found.groups[group][0, 0]) for table, found in tables.items()}
    if role == "category":
        fields = (*feature_map.profile, *feature_map.targets, *feature_map.context)
        vocabulary = next(f.vocabulary for f in fields if f.column == name)
        entry["unseen"] = {other: _unseen(tables[other], name, vocabulary) for other in OTHERS}
    entry["missing"] = {table: missing[table] / max(1, tables[table].rows) for table in tables}
    return entry


def _numeric(train: np.ndarray, test: np.ndarray, low: float, high: float) -> dict[str, Any]:
    """How test values compare with the range of all train rows, and with train's values."""
    known = test[~np.isnan(test)]
    sizes = [np.abs(values[np.isfinite(values) & (values != 0)]) for values in (train, test)]
    scale = None
    if min(map(len, sizes)) >= _LEAST_FOR_SCALE:
        scale = float(np.median(sizes[1]) / np.median(sizes[0]))
    return {
        "range": [low, high],
        "middle_share": middle_share(train, low, high),
        "test_outside": float(((known < low) | (known > high)).mean()) if len(known) else None,
        # The median size of test values by that of train values, without zeros.
        "test_scale": scale,
    }


def _unseen(counts: Counts, name: str, vocabulary: list[str]) -> float:
    """The share of rows with a category that the feature map does not know."""
    unknown = ~np.isin(np.array(counts.words[name], object), vocabulary)
    return float(counts.groups[name][1:, 0][unknown].sum() / max(1, counts.rows))


def _groups(counts: Counts, sample: pd.DataFrame) -> dict[str, Any]:
    """Columns that are missing together, that are equal, and that rise and fall together."""
    numeric = list(counts.table.numeric_columns)
    equal, alike = same_columns(sample[numeric][:_CORRELATED_ROWS])
    blocks = [
        {"columns": names, "rows": int(rows.sum()), "clicks": int(counts.label[rows].sum())}
        for names, rows in missing_blocks(sample[[*numeric, *counts.words]])
    ]
    return {"missing_blocks": blocks, "equal": equal, "alike": alike}


def _click_rates(tables: Tables) -> list[dict[str, Any]]:
    """Rows and clicks of train and validation along the raw file and by category.

    `test_rows` are those of the test; null along the file, since the test is another file. Holdout
    rows are left out.
    """
    train, valid, test = tables["train"], tables["valid"], tables["test"]
    along = train.groups["place"] + valid.groups["place"]
    found: list[dict[str, Any]] = [
        {
            "column": None,
            "values": [
                {"value": str(i + 1), "rows": int(rows), "clicks": int(clicks), "test_rows": None}
                for i, (_, rows, clicks) in enumerate(along)
            ],
        }
    ]
    for column in train.words:
        by_word: dict[str | None, np.ndarray] = {}
        for of in (train, valid, test):
            for word, (rows, known, clicks) in zip([None, *of.words[column]], of.groups[column]):
                counts = [rows, 0, 0, rows] if of is test else [rows, known, clicks, 0]
                by_word[word] = by_word.get(word, np.zeros(4, int)) + np.array(counts)
        words = sorted((word for word in by_word if by_word[word][0]), key=_in_order)
        if 1 < len(words) <= _MOST_CATEGORIES:
            names = ("rows", "clicks", "test_rows")
            values = [{"value": w, **dict(zip(names, by_word[w][1:].tolist()))} for w in words]
            found.append({"column": column, "values": values})
    return found


def _in_order(word: str | None) -> tuple[int, float, str]:
    """Missing first, then whole numbers by size, then other words."""
    if word is None:
        return 0, 0, ""
    try:
        return 1, float(int(word)), word
    except ValueError:
        return 2, 0, word


def _sequence(tables: Tables, field: SequenceField) -> dict[str, Any]:
    name = field.column
    groups = {table: counts.groups[f"length of {name}"] for table, counts in tables.items()}
    known = (groups["train"] + groups["valid"])[:, 1:]
    lengths = tables["train"].sample[f"length of {name}"]
    keys = {table: counts.keys[name] for table, counts in tables.items()}
    return {
        "column": name,
        "mean": {table: of.events[name] / max(1, of.rows) for table, of in tables.items()},
        "median": float(lengths.median()) if len(lengths) else None,
        "longest": {table: counts.longest[name] for table, counts in tables.items()},
        "lengths": [
            {
                "from": int(LENGTHS[i]),
                "rows": {table: int(counts[i, 0]) for table, counts in groups.items()},
                "known": int(known[i, 0]),
                "clicks": int(known[i, 1]),
            }
            for i in range(len(LENGTHS))
        ],
        "tokens": len(field.vocabulary),
        "unseen": {
            other: tables[other].unseen_events[name] / max(1, tables[other].sampled_events[name])
            for other in OTHERS
        },
        "twice_in_train": repeated_share(keys["train"]),
        "in_train": {other: shared_share(keys[other], keys["train"]) for other in OTHERS},
    }


def _same_rows(tables: Tables) -> dict[str, float | None]:
    """Shares of rows that are rows of another table in all features; `known` is train and valid."""
    train, valid, test = (counts.keys[""] for counts in tables.values())
    known = np.concatenate([train, valid])
    return {
        "valid_in_train": shared_share(valid, train),
        "test_in_known": shared_share(test, known),
        "known_in_test": shared_share(known, test),
    }


def _adversaries(
    samples: Mapping[str, pd.DataFrame], columns: list[dict[str, Any]], name: str
) -> list[dict[str, Any]]:
    """How well boosting tells the table from train: by all columns, then without drifted ones."""
    drifted = [c["column"] for c in columns if c["stability_index"][name] >= MUCH_DRIFT]
    found = []
    for without in [[], drifted][: 1 + bool(drifted)]:
        train, other = (samples[table].drop(columns=without) for table in ("train", name))
        result = adversary(train, other)
        if result is not None:
            found.append({"without": without, **result})
    return found
