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
SHARED = "sequences item, share_embedding"


def table_of(**columns: Any) -> dict[str, Any]:
    return {"y": [0, 1] * (ROWS // 2), "price": RANDOM.random(ROWS)} | columns


# The columns beside a label and a price, and their roles; in CSV if there is a separator.
TABLES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "words of a label": ("", {"y": ["No", "yes"] * (ROWS // 2)}, {"y": "label"}),
    "a label's name": ("", {"a": [0, 1] * (ROWS // 2)}, {"y": "label", "a": "numeric"}),
    "categories": (
        ",",
        {"town": ["New York", "Lyon", "Los Angeles"] * 20, "hour": HOURS, "memberId": USERS}
        | {"age": RANDOM.choice([18.5, 30, np.nan], ROWS), "zip": CODES, "stay_time": HOURS},
        dict.fromkeys(("town", "hour", "zip"), "profile")
        | {"memberId": "group, context", "age": "numeric", "stay_time": "numeric"},
    ),
    "joined histories": (
        "\t",
        {"item": CODES, "seen": ["|".join(row) for row in EVENTS]},
        {"item": "target", "seen": SHARED},
    ),
    "an item of other values": (
        "",
        {"seq": [",".join(f"7{code}" for code in row) for row in EVENTS], "inventory_id": USERS},
        {"seq": "sequences inventory_id", "inventory_id": "target"},
    ),
    "a history without an item": ("", {"seen": EVENTS, "hour": HOURS}, {"seen": "left out"}),
    "histories of other lengths": (
        "",
        {"item": CODES, "seen": EVENTS, "ad": CODES, "short": [row[1:] for row in EVENTS]},
        {"seen": SHARED, "ad": "profile", "short": "left out"},
    ),
    "times of events": (
        "",
        {"item": CODES, "seen": EVENTS, "seen_times": TIMES, "shown_time": DAYS * 86_400},
        {"seen_times": "times shown_time", "shown_time": "time, target"},
    ),
    "prices": (
        ";",
        {"cost": [f"{c // 100},{c % 100:02} €" for c in CENTS], "fee": [f"-{c:,}" for c in CENTS]}
        | {"product_id": RANDOM.integers(0, 30, ROWS)}
        | {"seen": [",".join(map(str, RANDOM.integers(0, 30, n))) for n in LENGTHS]},
        {"cost": "left out", "fee": "left out", "seen": "sequences product_id, share_embedding"},
    ),
    "a time of the row": (
        ";",
        {"seen_at": pd.to_datetime(DAYS, unit="D"), "birth_date": pd.to_datetime(DAYS, unit="D")},
        {"seen_at": "time", "birth_date": "left out"},
    ),
    "other columns": (
        ",",
        {"when": ["", *(f"2024-03-01 10:{i:02}:00" for i in range(1, ROWS))]}
        | {"seen": [f"{1 + i % 28:02}/03/2024" for i in range(ROWS)], "blank": [""] * ROWS}
        | {"note": [f"note {i}" for i in range(ROWS)], "as_text": ["[1, 2]"] * ROWS}
        | {"stray": [*CENTS[1:], "abc"], "Unnamed: 0": range(ROWS)},
        dict.fromkeys(
            ("when", "seen", "blank", "note", "as_text", "stray", "Unnamed: 0"), "left out"
        ),
    ),
    "other types and names": (
        "",
        {"vector": [[0.5]] * ROWS, "bytes": [b"\xff"] * ROWS, "a: b": HOURS, "값": HOURS},
        {"vector": "left out", "bytes": "left out", "a: b": "numeric", "값": "numeric"},
    ),
}


def suggested(folder: Path, *tables: Any, separator: str = "") -> tuple[dict[str, Any], str]:
    """The file for a train and maybe a test table, in CSV with a separator; read, and as text."""
    files = []
    for name, table in zip(("train", "test"), tables):
        path = folder / f"{name}.csv"
        if separator:
            pd.DataFrame(table).to_csv(path, index=False, sep=separator)
        else:
            path = write_raw(folder, pa.table(table), name)
        files.append([str(path)])
    suggest_columns(files[0], folder / "mine.yaml", test=files[1] if tables[1:] else None)
    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text), text


def roles_of(columns: dict[str, Any], text: str) -> dict[str, str]:
    """The roles of each column, or that it is left out."""
    roles: dict[str, list[str]] = {}
    for role, names in columns["groups"]["all"].items():
        for name in names if role != "separator" else ():
            target = names[name] if isinstance(names, dict) else ""
            roles.setdefault(name, []).append(f"{role} {target}".strip())
            if target:
                roles.setdefault(target, []).append("target")
    for key in ("label", "id", "time", "group"):
        roles.setdefault(columns.get(key, ""), []).insert(0, key)
    left_out = [line.split("'")[1] for line in text.splitlines() if " is left out: " in line]
    return {name: ", ".join(of) for name, of in roles.items()} | dict.fromkeys(left_out, "left out")


@pytest.mark.parametrize("table", TABLES)
def test_roles_come_from_types_names_and_values(table: str, tmp_path: Path) -> None:
    separator, columns, expected = TABLES[table]
    content, text = suggested(tmp_path, table_of(**columns), separator=separator)
    assert content["raw"].get("delimiter") == (separator.strip(",") or None)
    roles = roles_of(content["columns"], text)
    assert {name: roles[name] for name in expected} == expected
    assert roles["price"] == "numeric"


def test_only_what_the_test_table_has_is_learned_from(tmp_path: Path) -> None:
    train = raw_table(ROWS).append_column("refunded", pa.array([True, False] * (ROWS // 2)))
    test = raw_table(ROWS, 1, age=pa.nulls(ROWS, pa.int16()), y=pa.nulls(ROWS, pa.int8()))
    users = pa.array([f"u{i}" for i in range(ROWS)])
    tables = [each.add_column(0, "user_id", users) for each in (train, test.drop_columns("unused"))]
    content, text = suggested(
        tmp_path, *(each.rename_columns({"uid": "row_id"}) for each in tables)
    )
    roles = roles_of(content["columns"], text)
    left_out = [name for name, role in roles.items() if role == "left out"]
    assert left_out == ["user_id", "unused", "age", "refunded"]
    assert (roles["y"], roles["row_id"], roles["item"]) == ("label", "id", "target")


def test_columns_that_only_some_files_have_are_left_out(tmp_path: Path) -> None:
    for i in range(2):
        part = raw_table(ROWS, i).append_column("mixed", pa.array([[f"{i}"] if i else i] * ROWS))
        write_raw(tmp_path, part.append_column(f"only_{i}", part["price"]), f"part{i}")
    suggest_columns([f"{tmp_path}/part*"], tmp_path / "mine.yaml")
    text = (tmp_path / "mine.yaml").read_text()
    assert all(f"# {name!r} is left out: " in text for name in ("mixed", "only_0", "only_1"))


@pytest.mark.parametrize(
    ("tables", "error"),
    [
        ([table_of(y=range(ROWS))], "label"),
        ([table_of(), {"uid": ["a"] * ROWS, "price": [0.5] * ROWS}], "ID"),
        ([{"y": [0, 1], "blank": [None, None]}], "learned"),
        ([{name: [] for name in table_of()}], "no rows"),
    ],
)
def test_errors(tables: list[dict[str, Any]], error: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=error):
        suggested(tmp_path, *tables)


@pytest.mark.parametrize("separator", ["", ";"])
def test_what_is_suggested_passes_the_check_and_can_be_converted(
    separator: str, tmp_path: Path
) -> None:
    train, test = raw_table(300), raw_table(ROWS, 1).drop_columns(["y", "unused"])
    content, _ = suggested(
        tmp_path,
        *((each.to_pandas() if separator else each) for each in (train, test)),
        separator=separator,
    )
    default = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    columns = Columns.from_config(checked_config(default | {"table": content})["table"]["columns"])
    assert {*columns.features} == {"country", "item", "age", "price", "events"}
    assert columns.sequences == ("events",)
    to_train_h5(tmp_path, train, columns=columns)
    location = TableLocation(content["raw"]["test"], content["raw"].get("delimiter"))
    convert_test(location, columns, tmp_path / "test.h5")
