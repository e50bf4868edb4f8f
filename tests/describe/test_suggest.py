"""The suggested table file: the roles of columns, and that the file can be used as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from support import REPOSITORY
from support.raw_tables import raw_table, to_train_h5, write_raw
from tossctr.catalog.check import checked_config
from tossctr.common.errors import UserError
from tossctr.config.columns import Columns
from tossctr.datasets.conversion import convert_test
from tossctr.describe.suggest import suggest_columns
from tossctr.raw.location import TableLocation

ROWS = 60
RANDOM = np.random.default_rng(0)
CENTS = RANDOM.integers(100, 99_999, ROWS)
USERS, HOURS = RANDOM.integers(0, 9, (2, ROWS))
DAYS = np.repeat(np.arange(20_000, 20_010), ROWS // 10)
CODES = [f"{i % 10:03}" for i in range(ROWS)]
LENGTHS = np.arange(ROWS) % 5
EVENTS = [[f"{i:03}" for i in RANDOM.integers(0, 10, n)] for n in LENGTHS]
TIMES = [[86_400 * day - 9 for _ in row] for day, row in zip(DAYS, EVENTS)]


def table_of(**columns: Any) -> dict[str, Any]:
    return {"y": [0, 1] * (ROWS // 2), "price": RANDOM.random(ROWS)} | columns


SHARED = {"sequences": {"seen": "item"}, "share_embedding": ["seen"]}
# The columns beside a label and a price, the roles of all but the price, and in CSV what separates
# them. Columns without a role are left out.
TABLES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "words of a label, one of them bad": ("", {"y": [*["No", "yes"] * 29, "No", "?"]}, {}),
    "a label's name": ("", {"a": [0, 1] * (ROWS // 2)}, {"numeric": ["a"]}),
    "a bad time": (";", {"day": [*["2024-05-17 08:00"] * 59, "May"]}, {"time": "day"}),
    "categories": (
        ",",
        {"member": ["yes", "no"] * 30, "town": ["New York", "Lyon", "Los Angeles"] * 20}
        | {"hour": HOURS, "memberId": USERS}
        | {"age": RANDOM.choice([18.5, 30, np.nan], ROWS), "zip": CODES, "stay_time": HOURS},
        {"group": "memberId", "profile": ["member", "town", "hour", "zip"]}
        | {"context": ["memberId"], "numeric": ["age", "stay_time"]},
    ),
    "joined histories": (
        "\t",
        {"item": CODES, "seen": ["|".join(row) for row in EVENTS]},
        SHARED | {"separator": "|"},
    ),
    "an item of other values": (
        "",
        {"seq": [",".join(f"7{code}" for code in row) for row in EVENTS], "inventory_id": USERS},
        {"sequences": {"seq": "inventory_id"}},
    ),
    "a history without an item": ("", {"seen": EVENTS, "hour": HOURS}, {"profile": ["hour"]}),
    "histories of other lengths": (
        "",
        {"item": CODES, "seen": EVENTS, "ad": CODES, "short": [row[1:] for row in EVENTS]},
        SHARED | {"profile": ["ad"]},
    ),
    "times of events": (
        "",
        {"item": CODES, "seen": EVENTS, "seen_times": TIMES, "shown_time": DAYS * 86_400},
        SHARED | {"times": {"seen_times": "shown_time"}, "time": "shown_time"},
    ),
    "prices": (
        ";",
        {"cost": [f"{c // 100},{c % 100:02} €" for c in CENTS], "fee": [f"-{c:,}" for c in CENTS]}
        | {"item": RANDOM.integers(0, 30, ROWS)}
        | {"seen": [",".join(map(str, RANDOM.integers(0, 30, n))) for n in LENGTHS]},
        SHARED,
    ),
    "a time of the row": (
        ";",
        {"seen_at": pd.to_datetime(DAYS, unit="D"), "birth_date": pd.to_datetime(DAYS, unit="D")},
        {"time": "seen_at"},
    ),
    "text that is no feature": (
        ",",
        {"when": ["", *(f"2024-03-01 10:{i:02}:00" for i in range(1, ROWS))]}
        | {"seen": [f"{1 + i % 28:02}/03/2024" for i in range(ROWS)], "blank": [""] * ROWS}
        | {"note": [f"note {i}" for i in range(ROWS)], "as_text": ["[1, 2]"] * ROWS}
        | {"stray": [*CENTS[1:], "abc"], "Unnamed: 0": range(ROWS)},
        {},
    ),
    "other types and names": (
        "",
        {"vector": [[0.5]] * ROWS, "bytes": [b"\xff"] * ROWS, "a: b": HOURS, "값": HOURS},
        {"numeric": ["a: b", "값"]},
    ),
}


def suggested(folder: Path, *tables: Any, separator: str = "") -> dict[str, Any]:
    """The file for a train and maybe a test table, in CSV with a separator."""
    files = []
    for name, table in zip(("train", "test"), tables):
        path = folder / f"{name}.csv"
        if separator:
            pd.DataFrame(table).to_csv(path, index=False, sep=separator)
        else:
            path = write_raw(folder, pa.table(table), name)
        files.append([str(path)])
    suggest_columns(files[0], folder / "mine.yaml", test=files[1] if tables[1:] else None)
    return yaml.safe_load((folder / "mine.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("table", TABLES)
def test_roles_come_from_types_names_and_values(table: str, tmp_path: Path) -> None:
    separator, columns, expected = TABLES[table]
    content = suggested(tmp_path, table_of(**columns), separator=separator)
    assert content["raw"].get("delimiter") == (separator.strip(",") or None)
    roles = content["columns"] | content["columns"].pop("groups")["all"]
    assert (roles.pop("label"), roles.pop("id"), roles.pop("use")) == ("y", None, ["all"])
    assert roles == expected | {"numeric": ["price", *expected.get("numeric", [])]}


def test_only_what_the_test_table_has_is_learned_from(tmp_path: Path) -> None:
    train = raw_table(ROWS).append_column("refunded", pa.array([True, False] * (ROWS // 2)))
    test = raw_table(ROWS, 1, age=pa.nulls(ROWS, pa.int16()), y=pa.nulls(ROWS, pa.int8()))
    users = pa.array([f"u{i}" for i in range(ROWS)])
    tables = [each.add_column(0, "user_id", users) for each in (train, test.drop_columns("unused"))]
    tables = [each.rename_columns({"uid": "row_id"}) for each in tables]
    columns = Columns.from_config(suggested(tmp_path, *tables)["columns"])
    assert (columns.label, columns.id) == ("y", "row_id")
    assert {*columns.features} == {"country", "item", "price", "events"}


def test_files_are_found_from_another_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = suggested(Path(), table_of())["raw"]
    assert raw == {"train": str(tmp_path / "train.parquet"), "test": None, "delimiter": None}


def test_a_test_table_needs_no_ids(tmp_path: Path) -> None:
    content = suggested(tmp_path, table_of(), {"uid": ["a"] * ROWS, "price": [0.5] * ROWS})
    assert content["columns"]["id"] is None


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label"):
        suggested(tmp_path, table_of(y=range(ROWS)))
    with pytest.raises(UserError, match="feature"):
        suggested(tmp_path, {"y": [0, 1], "blank": [None, None]})
    with pytest.raises(UserError, match="no rows"):
        suggested(tmp_path, {name: [] for name in table_of()})


@pytest.mark.parametrize("separator", ["", ";"])
def test_what_is_suggested_passes_the_check_and_can_be_converted(
    separator: str, tmp_path: Path
) -> None:
    train, test = raw_table(300), raw_table(ROWS, 1).drop_columns(["y", "unused"])
    tables = (each.to_pandas() if separator else each for each in (train, test))
    content = suggested(tmp_path, *tables, separator=separator)
    default = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    columns = Columns.from_config(checked_config(default | {"table": content})["table"]["columns"])
    assert {*columns.features} == {"country", "item", "age", "price", "events"}
    assert columns.sequences == ("events",)
    to_train_h5(tmp_path, train, columns=columns)
    location = TableLocation(content["raw"]["test"], content["raw"].get("delimiter"))
    convert_test(location, columns, tmp_path / "test.h5")
