"""A split, holdout rows, a refit and all kinds of columns, from raw tables to the CSV."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feseq.dataset.history_statistics import QUANTITIES
from feseq.dataset.opening import open_table
from support import shop

pytestmark = pytest.mark.workflow

SPLIT = {"time": "day", "last": 2, "group": "visitor"}
# The paper's network, with times, histories of the target's items, and every kind of numbers.
MODEL = {
    "interaction": "autoint",
    "pooling": "weighted_sum",
    "score": "din",
    "causal": True,
    "layer_norm": False,
    "times": True,
    "time_log_base": 2,
    "numerics": ["linear", "direct", "buckets", "missing"],
    "scaling": "quantile",
    "history_statistics": [*QUANTITIES, "newest"],
    "levels": 10,
    "unknown_share": 0.1,
    "shortcuts": True,
}


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """A log of eight days, whose visitors mostly come on one day; its histories have times."""
    shop.write_inputs(tmp_path)
    for name in ("log", "new"):
        path = tmp_path / f"in/{name}.parquet"
        frame = pd.read_parquet(path)
        random, hours = np.random.default_rng(0), np.arange(len(frame))
        day = hours * 8 // len(frame)
        visitor = day * 10 + random.integers(0, 14, len(frame))
        frame = frame.assign(day=day.astype(str), visitor=visitor)
        frame["product"] = random.integers(1, 40, len(frame)).astype(str)
        frame["at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(hours, "h")
        frame["seen"] = [
            ",".join(
                str(1_700_000_000 - age) for age, _ in enumerate(text.split(",") if text else ())
            )
            for text in frame["pages"]
        ]
        frame.to_parquet(path)
    return pd.read_parquet(tmp_path / "in/log.parquet")


def h5_rows(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows in the raw file, and which of them are holdout rows."""
    with open_table(sorted((folder / f"data/h5/toy/{name}").glob("*.h5"))) as h5:
        return h5.column("row"), h5.holdout


def check_parts(table: pd.DataFrame, folder: Path) -> tuple[int, int, int]:
    """Train, validation and holdout rows, which the split keeps apart."""
    train, _ = h5_rows(folder, "train")
    valid, holdout = h5_rows(folder, "valid")
    assert len(train) + len(valid) == 100
    parts = [table.iloc[rows] for rows in (train, valid[~holdout], valid[holdout])]
    for older, newer in ((0, 1), (0, 2), (1, 2)):
        assert parts[older]["day"].max() < parts[newer]["day"].min()
        assert not set(parts[older]["visitor"]) & set(parts[newer]["visitor"])
    return len(parts[0]), len(parts[1]), len(parts[2])


def test_splits_holdout_refit_and_all_columns_reach_the_submission(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    sampling = {"split": SPLIT, "holdout_share": 0.5}
    config = shop.changed("sampling", sampling)
    config |= {"submission": {"refit": True}, "model": MODEL}
    group = config["columns"]["groups"]["shop"]
    group |= {"times": {"seen": "at"}, "share_embedding": ["pages"], "context": ["age"]}
    targets = ["results/submission_toy.csv", "results/toy/len20/metrics.json"]
    code, output = shop.snakemake(tmp_path, *targets, config=config)
    assert code == 0, output
    submission = pd.read_csv(tmp_path / targets[0])
    assert len(submission) == shop.TEST_ROWS
    assert submission["bought"].between(0, 1).all()
    feature_map = json.loads((tmp_path / "data/h5/toy/feature_map.json").read_text())
    assert feature_map["event_time"] == "seen"
    assert feature_map["sequences"][0]["shared_with"] == "product"
    assert [field["column"] for field in feature_map["ids"]] == ["age"]
    assert [field["column"] for field in feature_map["levels"]] == ["price", "age"]

    train, validation, holdout = check_parts(table, tmp_path)
    metrics, training, again = (
        json.loads((tmp_path / f"results/toy/len20/{name}.json").read_text())
        for name in ("metrics", "training", "refit/training")
    )
    assert (metrics["rows"], metrics["unseen"]) == (holdout, True)
    assert (training["train_rows"], training["valid_rows"]) == (train, validation)
    assert (again["train_rows"], again["refit"]) == (2 * (validation + holdout), True)
    assert again["valid_auc"] == training["valid_auc"]
