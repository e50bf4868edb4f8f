"""Click tables that differ in returning users, number of clicks and columns.

MovieLens 100k (a rating of four stars or more is a click) comes from PyPI's recbole wheel. The
stand-in and the shop of `made_up_tables.py` are simulated; models are measured on them by the true
click probabilities. `real_tables.py` has four more tables.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import made_up_tables
import numpy as np
import pandas as pd
import real_tables
import runs
from pandas.api.types import is_numeric_dtype

from tossctr.config.columns import expand_ranges
from tossctr.simulation.stand_in import simulate_split

RECBOLE = "recbole==1.2.1"
FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
TEST_SHARE = 0.2
RARE = 0.005


@dataclass(frozen=True)
class Table:
    """Train and test rows, column roles as in a table's file, and how rows are held out.

    `split` names the columns `time` and `group`, or one of them, or neither. `truth` is the column
    that models are measured by: the label, or the true click probability.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    columns: dict[str, Any]
    split: dict[str, str]
    truth: str
    score: str = "logloss"

    @property
    def chance(self) -> np.ndarray:
        """Labels or true click probabilities, which models are measured by, float64 [test rows]."""
        return self.test[self.truth].to_numpy(np.float64)

    @property
    def label(self) -> str:
        """Name of the label's column."""
        return self.columns["label"]

    def roles(self, role: str) -> list[str]:
        """Columns of a role, such as `numeric`; for `sequences`, the histories."""
        groups = [self.columns["groups"][name] for name in self.columns["use"]]
        return expand_ranges(name for group in groups for name in group.get(role, []))

    def categories(self) -> list[str]:
        """Profile, context and target columns."""
        groups = [self.columns["groups"][name] for name in self.columns["use"]]
        targets = [target for group in groups for target in group.get("sequences", {}).values()]
        return [*self.roles("profile"), *self.roles("context"), *targets]

    def held_out(self, share: float) -> np.ndarray:
        """Bool [train rows]: a share of the train rows, held out like the test."""
        train = self.train
        if self.split.get("group"):
            return _drawn(train[self.split["group"]], share)
        if self.split.get("time"):
            times = train[self.split["time"]]
            if not is_numeric_dtype(times):
                return (times == times.max()).to_numpy()
            return (times > times.quantile(1 - share)).to_numpy()
        return np.random.default_rng(0).random(len(train)) < share

    def inner(self) -> "Table":
        """The table without its test rows; a share of the train rows replaces them."""
        held_out = self.held_out(TEST_SHARE)
        train, test = (self.train[part].reset_index(drop=True) for part in (~held_out, held_out))
        return replace(self, train=train, test=test)

    def write(self, folder: Path) -> None:
        """Write train.parquet, and test.parquet without labels."""
        folder.mkdir(parents=True, exist_ok=True)
        self.train.to_parquet(folder / "train.parquet", index=False)
        test = self.test.drop(columns=[self.label, self.columns["id"]], errors="ignore")
        test.insert(0, self.columns["id"], [f"R{i:07d}" for i in range(len(test))])
        test.to_parquet(folder / "test.parquet", index=False)


def _drawn(groups: pd.Series, share: float) -> np.ndarray:
    """Bool [rows]: whole groups, drawn at random."""
    draw = np.random.default_rng(0).random(groups.nunique())
    return draw[groups.rank(method="dense").astype(int) - 1] < share


def movielens(rows: pd.DataFrame | None = None) -> Table:
    """The newest fifth is the test; its users may have train rows or not."""
    rows = ratings() if rows is None else rows
    cut = int(len(rows) * (1 - TEST_SHARE))
    return _movielens(rows[:cut], rows[cut:], {"time": "timestamp"})


def new_users(rows: pd.DataFrame | None = None) -> Table:
    """The test's users have no train rows."""
    rows = ratings() if rows is None else rows
    is_test = _drawn(rows["user"], TEST_SHARE)
    return _movielens(rows[~is_test], rows[is_test], {"group": "user"})


def liked_films() -> Table:
    """The test's users have no train rows, and histories hold the films that a user liked.

    So a liked film appears in the same user's later histories.
    """
    return new_users(ratings(liked_only=True))


def without_ids() -> Table:
    """No user and film IDs; the history is matched with the film's first genre.

    So the genre is a target here, not context.
    """
    table = movielens()
    group = table.columns["groups"]["movielens"]
    numeric = [name for name in group["numeric"] if name not in ("user", "item_number")]
    group = {
        **group,
        "context": ["decade"],
        "numeric": numeric,
        "sequences": {"history": "genre"},
        "share_embedding": [],
    }
    columns = {**table.columns, "groups": {"movielens": group}}
    return replace(table, columns=columns)


def rare_ratings() -> Table:
    """One row in 200 is liked."""
    rows = ratings()
    liked = rows["liked"].to_numpy() == 1
    keep = RARE / (1 - RARE) * (~liked).sum() / liked.sum()
    kept = ~liked | (np.random.default_rng(0).random(len(rows)) < keep)
    return movielens(rows[kept].reset_index(drop=True))


def _movielens(train: pd.DataFrame, test: pd.DataFrame, split: dict[str, str]) -> Table:
    numeric = ["age", "user_count", "user_mean", "user_days", "item_count", "item_mean"]
    group = {
        "profile": ["gender"],
        "context": ["user", "genre", "decade"],
        "numeric": [*numeric, "release_year", "hour", "user", "item_number"],
        "sequences": {"history": "item"},
        "times": {"history_times": "timestamp"},
        "share_embedding": ["history"],
    }
    columns = {"label": "liked", "id": "ID", "use": ["movielens"], "groups": {"movielens": group}}
    train, test = (part.reset_index(drop=True) for part in (train, test))
    return Table(train, test, columns, split, "liked")


@cache
def ratings(liked_only: bool = False) -> pd.DataFrame:
    """One row per rating, ordered by time, with statistics of the user and film before the rating.

    `history`: the films that the user rated (or liked) before, oldest first; `history_times`: their
    times, in seconds like `timestamp`. Numerics stay in their natural, skewed units.
    """
    inter, item, user = _recbole()
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
    table["genre"] = rows["class"].str.split().str[0]
    table["decade"] = table["release_year"].floordiv(10).mul(10).astype("Int64").astype("string")
    stays = rows["rating"] >= 4 if liked_only else np.ones(len(rows), bool)
    table["history"] = _histories(rows, "item_id", stays)
    table["history_times"] = _histories(rows, "timestamp", stays)
    return table


def _recbole() -> list[pd.DataFrame]:
    """The tables of ratings, films and users."""
    files = real_tables.fetch(RECBOLE, [f"{FOLDER}.{name}" for name in ("inter", "item", "user")])
    tables = [pd.read_csv(file, sep="\t") for file in files]
    return [table.rename(columns=lambda name: name.split(":")[0]) for table in tables]


def _histories(rows: pd.DataFrame, column: str, stays: Iterable[bool]) -> list[str]:
    """The column's values in the kept earlier rows of the same user, oldest first."""
    seen: dict[int, list[str]] = {}
    histories = []
    for user, value, stay in zip(rows["user_id"], rows[column].astype(np.int64), stays):
        before = seen.setdefault(user, [])
        histories.append(",".join(before))
        if stay:
            before.append(str(value))
    return histories


@cache
def stand_in(rows: int | None = None, mean_length: float | None = None) -> Table:
    """The simulated stand-in, by default as in the default run; the test is the day after train.

    With `rows` train rows, the test has a fifth as many.
    """
    toss = runs.simulated(**({"train_rows": rows, "test_rows": rows // 5} if rows else {}))
    simulation, columns = toss["simulation"], toss["columns"]
    parts = {}
    with TemporaryDirectory() as folder:
        for split in ("train", "test"):
            data, truth = Path(folder) / f"{split}.parquet", Path(folder) / "truth.parquet"
            simulate_split(
                data,
                truth,
                split=split,
                rows=simulation[f"{split}_rows"],
                mean_length=mean_length or simulation["mean_length"],
                train_rows=simulation["train_rows"],
            )
            chances = pd.read_parquet(truth)[["probability", "probability_of_new_user"]]
            parts[split] = pd.concat([pd.read_parquet(data), chances], axis=1)
    split = {"time": columns["time"]}
    return Table(parts["train"], parts["test"], columns, split, "probability", toss["score"])


def _clicked_by(chance: Callable[[pd.DataFrame], pd.Series], rows: int | None) -> Table:
    """The stand-in with clicks redrawn from other probabilities."""
    table = stand_in(rows)
    train, test = (part.assign(probability=chance) for part in (table.train, table.test))
    draw = np.random.default_rng(0).random(len(train))
    train = train.assign(clicked=(draw < train["probability"]).astype(np.int64))
    return replace(table, train=train, test=test)


def without_returning(rows: int | None = None) -> Table:
    """The stand-in with clicks that depend only on the row, not on the user's identity."""
    return _clicked_by(lambda table: table["probability_of_new_user"], rows)


def rare_clicks(rows: int | None = None) -> Table:
    """One row of the stand-in in about 500 is clicked."""
    return _clicked_by(lambda table: table["probability"] / 10, rows)


def without_histories(rows: int | None = None) -> Table:
    """Every history of the stand-in is empty."""
    table = stand_in(rows)
    train, test = (part.assign(seq="") for part in (table.train, table.test))
    return replace(table, train=train, test=test)


def long_histories(rows: int | None = None) -> Table:
    """The stand-in with 500 events in a history on average, as the real data have them."""
    return stand_in(rows, mean_length=500)


def shop() -> Table:
    """The made-up shop: rows are drawn at random."""
    rows, columns = made_up_tables.shop()
    train, test = rows[:25_000], rows[25_000:].reset_index(drop=True)
    return Table(train, test, columns, {}, "probability")


def of_real(
    rows: Callable[[], tuple[pd.DataFrame, dict[str, Any]]], split: dict[str, str]
) -> Callable[[], Table]:
    """A table of `real_tables.py`; its test is the newest fifth, or a fifth of groups or rows."""

    def table() -> Table:
        whole, columns = rows()
        is_test = Table(whole, whole[:0], columns, split, columns["label"]).held_out(TEST_SHARE)
        parts = (whole[part].reset_index(drop=True) for part in (~is_test, is_test))
        return Table(*parts, columns, split, columns["label"])

    return table


# Functions of the stand-in take the number of train rows.
TABLES: dict[str, Callable[..., Table]] = {
    "movielens": movielens,
    "movielens, new users": new_users,
    "movielens, liked films": liked_films,
    "movielens, without IDs": without_ids,
    "movielens, rare": rare_ratings,
    "stand-in": stand_in,
    "stand-in, none returns": without_returning,
    "stand-in, rare": rare_clicks,
    "stand-in, no histories": without_histories,
    "stand-in, long histories": long_histories,
    "shop": shop,
    "coupons": of_real(real_tables.coupons, {"time": "time"}),
    "flights": of_real(real_tables.flights, {"time": "time"}),
    "proteins": of_real(real_tables.proteins, {"group": "search"}),
    "census": of_real(real_tables.census, {}),
}
