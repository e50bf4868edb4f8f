"""The facts of the data page: train, validation and test, column by column and together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..dataset.feature_map import FeatureMap
from ..dataset.mixed import Files, open_files
from ..dataset.store import H5Table
from .columns import auc_alone, kind_of, middle_share, missing_blocks, same_columns
from .drift import MUCH_DRIFT, Levels, adversary, stability_index
from .keys import repeated_share, shared_share
from .table_pass import LENGTHS, Categories, TablePass

# The tables that are compared with train.
OTHERS = ("valid", "test")
# Columns of more categories are not shown category by category.
_MOST_CATEGORIES = 31
_CORRELATED_ROWS = 20_000
# Values other than 0 on each side that a scale needs.
_LEAST_FOR_SCALE = 20


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

    Each table is read once, as a stream. Counts are of all rows, figures of single columns of a
    sample, whose rows `sampled_rows` counts.
    """
    feature_map = FeatureMap.read(feature_map_json)
    with (
        open_files(train_h5) as train,
        open_files(valid_h5) as valid,
        open_files(test_h5) as test,
        threadpool_limits(threads),
    ):
        categories = Categories(train.categorical_columns)
        by_name = {"train": train, "valid": valid, "test": test}
        parts = {
            name: TablePass(table, categories, feature_map).run(threads)
            for name, table in by_name.items()
        }
        tables = _Tables.of(parts, categories, feature_map, train)
        columns = [_column(tables, i) for i in range(len(tables.names))]
        return {
            "size": size,
            "simulated_data": bool(train.source["simulated"]),
            "rows": {name: part.rows for name, part in parts.items()},
            "clicks": {name: parts[name].clicks for name in ("train", "valid")},
            "judging": {
                "rows": int(valid.judges.sum()),
                "clicks": int(valid.column("label")[valid.judges].sum()),
            },
            "sampled_rows": {name: len(sample) for name, sample in tables.samples.items()},
            "columns": columns,
            **_groups(tables),
            "click_rates": _click_rates(tables),
            "sequences": [_sequence(tables, i) for i in range(len(feature_map.sequences))],
            "same_rows": _same_rows(parts),
            "adversary": {name: _adversaries(tables, columns, name) for name in OTHERS},
        }


@dataclass(frozen=True)
class _Tables:
    """The passes over train, valid and test, and the columns of their samples."""

    parts: Mapping[str, TablePass]
    samples: Mapping[str, np.ndarray]
    categories: Categories
    feature_map: FeatureMap
    names: list[str]
    roles: list[str]

    @classmethod
    def of(
        cls,
        parts: Mapping[str, TablePass],
        categories: Categories,
        feature_map: FeatureMap,
        table: H5Table,
    ) -> "_Tables":
        columns = [(name, "numeric") for name in table.numeric_columns]
        columns += [(name, "category") for name in table.categorical_columns]
        for field in feature_map.sequences:
            columns += [(f"length of {field.column}", "length")]
            columns += [(f"newest of {field.column}", "newest")]
        samples = {name: part.sample for name, part in parts.items()}
        names, roles = ([column[i] for column in columns] for i in (0, 1))
        return cls(parts, samples, categories, feature_map, names, roles)

    def having(self, *roles: str) -> list[int]:
        """The columns that have one of these roles."""
        return [i for i, role in enumerate(self.roles) if role in roles]


def _column(tables: _Tables, i: int) -> dict[str, Any]:
    role = tables.roles[i]
    is_category = role in ("category", "newest")
    values = {name: sample[:, i] for name, sample in tables.samples.items()}
    levels = Levels(values["train"], is_category)
    drift = {name: stability_index(values["train"], values[name], levels) for name in OTHERS}
    kind, distinct = kind_of(values["train"])
    entry = {
        "column": tables.names[i],
        "role": role,
        "kind": "categories" if is_category else kind,
        "distinct": distinct,
        "missing": {
            name: float(part.missing[i] / max(1, part.rows)) for name, part in tables.parts.items()
        },
        "click_auc": auc_alone(values["train"], tables.parts["train"].label, is_category),
        "stability_index": {name: index for name, (index, _) in drift.items()},
        "by_chance": {name: chance for name, (_, chance) in drift.items()},
    }
    if role == "numeric":
        entry |= _numeric(tables, i, values["train"], values["test"])
    if role == "category":
        entry["unseen"] = {name: _unseen_categories(tables, i, name) for name in OTHERS}
    return entry


def _numeric(tables: _Tables, i: int, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """The range of all train rows, and how the test values lie to it and to train's values."""
    field = next(f for f in tables.feature_map.numeric if f.column == tables.names[i])
    known = test[~np.isnan(test)]
    outside = (known < field.minimum) | (known > field.maximum)
    return {
        "range": [field.minimum, field.maximum],
        "middle_share": middle_share(train, field.minimum, field.maximum),
        "infinite": {name: int(part.infinite[i]) for name, part in tables.parts.items()},
        "test_outside": float(outside.mean()) if len(known) else None,
        "test_scale": _scale_ratio(train, test),
    }


def _scale_ratio(train: np.ndarray, test: np.ndarray) -> float | None:
    """The median size of test values by that of train values, without zeros; None if unknown."""
    sizes = [np.abs(values[np.isfinite(values) & (values != 0)]) for values in (train, test)]
    if min(map(len, sizes)) < _LEAST_FOR_SCALE:
        return None
    return float(np.median(sizes[1].astype(np.float64)) / np.median(sizes[0].astype(np.float64)))


def _unseen_categories(tables: _Tables, i: int, name: str) -> float:
    """The share of rows with a category that the feature map does not know."""
    column, part = tables.names[i], tables.parts[name]
    found = tables.feature_map
    fields = (*found.profile, *found.targets, *found.context)
    known = {None, *next(field.vocabulary for field in fields if field.column == column)}
    counts = part.by_code[i - tables.having("category")[0]][:, 0]
    unknown = [word not in known for word in tables.categories.words(column)[: len(counts)]]
    return float(counts[unknown].sum() / max(1, part.rows))


def _groups(tables: _Tables) -> dict[str, Any]:
    """Columns that are missing together, that are equal, and that rise and fall together."""
    train, label = tables.samples["train"], tables.parts["train"].label
    raw, numeric = tables.having("numeric", "category"), tables.having("numeric")
    blocks = missing_blocks(train[:, raw], [tables.names[i] for i in raw])
    names = [tables.names[i] for i in numeric]
    equal, alike = same_columns(train[:_CORRELATED_ROWS][:, numeric], names)
    return {
        "missing_blocks": [
            {
                "columns": columns,
                "rows": int(is_missing.sum()),
                "clicks": int(label[is_missing].sum()),
            }
            for columns, is_missing in blocks
        ],
        "equal": equal,
        "alike": alike,
    }


def _click_rates(tables: _Tables) -> list[dict[str, Any]]:
    """Rows and clicks of train and validation along the raw file and by category.

    `test_rows` are those of the test; null along the file, as it has another one. Rows kept apart
    to judge are left out.
    """
    known = [tables.parts["train"], tables.parts["valid"]]
    stretches = known[0].by_stretch + known[1].by_stretch
    found: list[dict[str, Any]] = [
        {
            "column": None,
            "values": [
                {"value": str(i + 1), "rows": int(rows), "clicks": int(clicks), "test_rows": None}
                for i, (_, rows, clicks) in enumerate(stretches)
            ],
        }
    ]
    for i, column in enumerate(tables.categories.codes):
        words = tables.categories.words(column)
        counts = np.zeros((2, len(words), 3), np.int64)
        for row, parts in enumerate((known, [tables.parts["test"]])):
            for part in parts:
                counts[row, : len(part.by_code[i])] += part.by_code[i]
        used = [code for code in range(len(words)) if counts[:, code, 0].any()]
        if 1 < len(used) <= _MOST_CATEGORIES:
            values = [
                {
                    "value": words[code],
                    "rows": int(counts[0, code, 1]),
                    "clicks": int(counts[0, code, 2]),
                    "test_rows": int(counts[1, code, 0]),
                }
                for code in sorted(used, key=lambda code: _in_order(words[code]))
            ]
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


def _sequence(tables: _Tables, i: int) -> dict[str, Any]:
    field, parts = tables.feature_map.sequences[i], tables.parts
    keys = {name: part.sequence_keys[i] for name, part in parts.items()}
    known = (parts["train"].by_length[i] + parts["valid"].by_length[i])[:, 1:]
    lengths = tables.samples["train"][:, tables.names.index(f"length of {field.column}")]
    return {
        "column": field.column,
        "mean": {name: float(p.events[i] / max(1, p.rows)) for name, p in parts.items()},
        "median": float(np.median(lengths)) if len(lengths) else None,
        "longest": {name: int(part.longest[i]) for name, part in parts.items()},
        "lengths": [
            {
                "from": int(LENGTHS[bin]),
                "rows": {name: int(part.by_length[i, bin, 0]) for name, part in parts.items()},
                **dict(zip(("known", "clicks"), known[bin].tolist())),
            }
            for bin in range(len(LENGTHS))
        ],
        "tokens": len(field.vocabulary),
        "unseen": {
            name: float(parts[name].unseen_events[i] / max(1, parts[name].sampled_events[i]))
            for name in OTHERS
        },
        "twice_in_train": repeated_share(keys["train"]),
        "in_train": {name: shared_share(keys[name], keys["train"]) for name in OTHERS},
    }


def _same_rows(parts: Mapping[str, TablePass]) -> dict[str, float | None]:
    """Shares of rows that are rows of another table in all features; `known` is train and valid."""
    train, valid, test = (part.row_keys for part in parts.values())
    known = train.joined(valid)
    return {
        "valid_in_train": shared_share(valid, train),
        "test_in_known": shared_share(test, known),
        "known_in_test": shared_share(known, test),
    }


def _adversaries(tables: _Tables, columns: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """How well boosting tells the table from train: by all columns, then without drifted ones."""
    train, other = tables.samples["train"], tables.samples[name]
    drifted = [i for i, entry in enumerate(columns) if entry["stability_index"][name] >= MUCH_DRIFT]
    found = []
    for without in [[], drifted][: 1 + bool(drifted)]:
        kept = [i for i in range(len(columns)) if i not in without]
        judged = adversary(train[:, kept], other[:, kept], [tables.names[i] for i in kept])
        if judged is not None:
            found.append(
                {
                    "without": [tables.names[i] for i in without],
                    "auc": judged.auc,
                    "chance": judged.chance,
                    "columns": judged.columns,
                }
            )
    return found
