"""Facts of the data: those of tiny raw tables, and made-up ones."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from support.raw_tables import COLUMNS, to_test_h5, to_train_h5
from tossctr.config.columns import Columns
from tossctr.describe.facts import describe
from tossctr.features.fitting import fit_feature_map


def facts_of(
    folder: Path, train: pa.Table, test: pa.Table | None, columns: Columns = COLUMNS, **options: Any
) -> dict[str, Any]:
    """The facts of a quarter of `train` as validation rows, the rest as train rows, and `test`."""
    train_h5, valid_h5 = to_train_h5(folder, train, columns=columns, **options)
    half = len(test or ()) // 2
    # Two parts, whose categories have other codes.
    halves = (test[:half], test[half:]) if test else ()
    test_h5 = [to_test_h5(folder / str(i), rows, columns=columns) for i, rows in enumerate(halves)]
    fit_feature_map(train_h5, columns, 1).write(folder / "map.json")
    files = (train_h5, valid_h5, test_h5, folder / "map.json")
    return describe(*files, size="full", threads=2)


def column(facts: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in facts["columns"] if entry["column"] == name)


def plain_facts(name: str = "a column", columns: int = 40, **given: Any) -> dict[str, Any]:
    """Made-up facts of simulated data; `given` replaces entries."""
    parts = ("train", "valid", "test")
    values = [
        {"value": f"{name} {i}", "rows": 900 * (i + 1), "clicks": 30, "test_rows": 70 * i}
        for i in range(30)
    ]
    along = [value | {"value": str(i), "test_rows": 0} for i, value in enumerate(values[:20])]
    numeric = {"role": "numeric", "distinct": 31, "click_auc": 0.6, "low": 0.0, "high": 1e6}
    numeric |= {"unseen_test": None} | {f"missing_{part}": 0.25 for part in parts}
    sequence = {
        "column": name,
        "mean": dict.fromkeys(parts, 400.0),
        "longest": dict.fromkeys(parts, 12_345),
        "none": dict.fromkeys(parts, 1 / 13),
        **{"tokens": 240, "unseen_test": 0.02, "twice_in_train": 0.4},
        "in_train": {"valid": 0.4, "test": 0.01},
    }
    return {
        "size": "full",
        "simulated_data": True,
        "rows": {"train": 90_000, "valid": 10_000, "test": 50_000},
        "clicks": {"train": 1_800, "valid": 200},
        "sampled_rows": {"train": 45_000, "valid": 10_000, "test": 50_000},
        "columns": [
            numeric | {"column": f"{name} {i}", "psi_valid": 0.001 * i, "psi_test": 0.1 * i}
            for i in range(columns)
        ],
        "click_rates": [
            {"column": None, "values": along},
            {"column": name, "values": values},
            {"column": "hour", "values": [{**v, "value": v["value"][-2:]} for v in values]},
        ],
        "sequences": [sequence],
        "adversary": {
            "valid": {"auc": 0.501, "is_significant": False, "columns": {}},
            "test": {"auc": 0.95, "is_significant": True, "columns": {f"{name} 9": 0.4}},
        },
    } | given
