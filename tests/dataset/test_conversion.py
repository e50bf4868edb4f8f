"""Raw parquet to H5: whole round trips, shuffling in memory, and refusing what is unusable."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from feseq.dataset import conversion, shuffle
from feseq.dataset.categories import codes_of
from feseq.dataset.conversion import convert_train
from feseq.dataset.selection import HOLDOUT, Selection, write_selections
from feseq.dataset.store import H5Table
from support.raw_tables import (
    COLUMNS,
    content,
    raw_table,
    selected,
    split_events,
    to_test_h5,
    to_train_h5,
    with_roles,
    write_raw,
)

Row = dict[str, Any]


def rows_of_raw(table: pa.Table) -> list[Row]:
    """What H5 must give back, from the raw table, row by row."""
    rows = []
    for row in table.to_pylist():
        kept = {name: row[name] for name in COLUMNS.categorical}
        kept |= {name: split_events(row[name]) for name in COLUMNS.sequences}
        for name in COLUMNS.numeric:
            value = np.float32(np.nan if row[name] is None else row[name])
            kept[name] = "nan" if np.isnan(value) else float(value)
        rows.append(kept)
    return rows


def rows_of_h5(path: Path) -> list[Row]:
    """The rows of an H5 file, read as its docstring describes it, without the library."""
    with h5py.File(path) as file:
        names = {
            kind: json.loads(file.attrs[f"{kind}_columns"])
            for kind in ("numeric", "categorical", "sequence")
        }
        assert file["numeric"].dtype == np.float32
        rows: list[Row] = [{} for _ in range(file.attrs["rows"])]
        for i, name in enumerate(names["categorical"]):
            words = [word.decode() for word in file[f"vocabulary/{name}"]]
            assert words == sorted(words)
            word_of = {0: None} | dict(zip(codes_of(words).tolist(), words))
            for row, code in zip(rows, file["categorical"][:, i].tolist()):
                row[name] = word_of[code]
        for name in names["sequence"]:
            offsets = file[f"sequence/{name}/offsets"][:]
            values = file[f"sequence/{name}/values"][:]
            assert offsets.dtype == np.int64
            assert len(offsets) == len(rows) + 1
            assert offsets[-1] == len(values)
            for i, row in enumerate(rows):
                row[name] = values[offsets[i] : offsets[i + 1]].tolist()
        for i, name in enumerate(names["numeric"]):
            for row, value in zip(rows, file["numeric"][:, i]):
                row[name] = "nan" if np.isnan(value) else float(value)
    return rows


@pytest.mark.usefixtures("small_batches")
def test_train_and_valid_give_back_every_raw_value(tmp_path: Path) -> None:
    table = raw_table()
    expected = rows_of_raw(table)
    assert any(row["price"] == "nan" for row in expected)
    assert {float("inf"), float("-inf")} <= {row["price"] for row in expected}
    assert {None, ""} <= {row["country"] for row in expected}
    parts = to_train_h5(tmp_path, table)
    seen: list[int] = []
    for path, is_valid in zip(parts, (False, True)):
        with h5py.File(path) as file:
            raw_rows, labels = file["row"][:], file["label"][:]
        assert rows_of_h5(path) == [expected[row] for row in raw_rows]
        assert labels.tolist() == [table["y"][int(row)].as_py() for row in raw_rows]
        assert labels.dtype == np.uint8
        chosen = Selection.read(tmp_path / "selection.parquet")
        of_part = chosen.is_valid == is_valid
        in_order = chosen.row[of_part][np.argsort(chosen.position[of_part])]
        with H5Table(path) as table_of_part:
            assert np.array_equal(table_of_part.column("row"), in_order)
        seen += raw_rows.tolist()
    assert sorted(seen) == list(range(len(table)))


@pytest.mark.usefixtures("small_batches")
def test_test_rows_come_back_in_file_order_with_their_ids(tmp_path: Path) -> None:
    table = raw_table().drop_columns("y")
    path = to_test_h5(tmp_path, table)
    assert rows_of_h5(path) == rows_of_raw(table)
    with h5py.File(path) as file:
        assert [word.decode() for word in file["id"]] == table["uid"].to_pylist()
        assert file["row"][:].tolist() == list(range(len(table)))
        assert "label" not in file


@pytest.mark.usefixtures("small_batches")
def test_more_than_memory_may_hold_is_shuffled_as_far_as_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle, "SHUFFLED_BYTES", 4_000)
    table = raw_table(200)
    raw, selection = write_raw(tmp_path, table), tmp_path / "selection.parquet"
    chosen = selected(table["y"].to_numpy(), valid_share=0.4, holdout_share=0.5)
    chosen = replace(chosen, period=(chosen.row % 5).astype(np.uint8))
    write_selections([chosen], selection)
    files = tmp_path / "train.h5", tmp_path / "valid.h5"
    convert_train(raw, selection, COLUMNS, *files)
    expected, place = rows_of_raw(table), dict(zip(chosen.row.tolist(), chosen.position.tolist()))
    holdout = set(chosen.row[chosen.part == HOLDOUT].tolist())
    seen: list[int] = []
    for path in files:
        with h5py.File(path) as file:
            row, is_holdout = file["row"][:].tolist(), file["holdout"][:].tolist()
            assert np.array_equal(file["period"][:], file["row"][:] % 5)
        assert rows_of_h5(path) == [expected[i] for i in row]
        assert is_holdout == [i in holdout for i in row]
        # Shuffles that follow each other: in the drawn order, and behind all rows before them.
        cuts = [0, *(i for i in range(1, len(row)) if place[row[i]] < place[row[i - 1]]), len(row)]
        assert 3 < len(cuts) < 40
        starts = [i for i in cuts[:-1] if min(row[i:]) > max([-1, *row[:i]])]
        assert len(starts) > 2
        seen += row
    assert sorted(seen) == list(range(200))


def test_the_result_does_not_depend_on_batches_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = raw_table(100)
    # One large token, among the train rows: valid.h5 must be the same wherever batches end.
    events = table["events"].to_pylist()
    events[58] = "70000"
    table = raw_table(100, events=events)
    rows = {"valid_rows": range(1, 100, 2), "holdout": 9}
    plain = to_train_h5(tmp_path / "plain", table, **rows)
    plain_test = to_test_h5(tmp_path / "plain", table)
    for batch_rows, write_rows, row_group_size in ((7, 1000, 1000), (16, 4, 13), (20, 11, 1)):
        monkeypatch.setattr(conversion, "BATCH_ROWS", batch_rows)
        monkeypatch.setattr(shuffle, "_ROWS", write_rows)
        folder = tmp_path / f"{batch_rows}"
        parts = to_train_h5(folder, table, **rows, row_group_size=row_group_size)
        for part, expected in zip(parts, plain):
            assert content(part) == content(expected)
        test = to_test_h5(folder, table, row_group_size=row_group_size)
        assert content(test) == content(plain_test)


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("country", pa.array([3, None, -1, 3], pa.int32()), ["3", None, "-1", "3"]),
        ("country", pa.array([1.0, float("nan"), 2.5, None]), ["1", None, "2.5", None]),
        ("country", pa.array([0.1, None, 123456792.0], pa.float32()), ["0.1", None, "123456792"]),
        ("country", pa.array([0.1, 2, None, 0.3], pa.float16()), ["0.1", "2", None, "0.3"]),
        ("country", pa.array([True, False, None, True]), ["true", "false", None, "true"]),
        ("country", pa.array(["b", None, "a", "b"]).dictionary_encode(), ["b", None, "a", "b"]),
        ("country", pa.array(["b", None, "", "b"], pa.large_string()), ["b", None, "", "b"]),
        ("country", pa.array([7, None, 7, 9]).dictionary_encode(), ["7", None, "7", "9"]),
        (
            "country",
            pa.array(["700.00", None, "7.50"]).cast(pa.decimal128(6, 2)),
            ["700", None, "7.5"],
        ),
        ("country", pa.nulls(4, pa.string()), [None] * 4),
        ("age", pa.array([1, None, 2**24 + 1], pa.int64()), [1, "nan", 2**24]),
        ("age", pa.array([0.1, None, 3], pa.float64()), [float(np.float32(0.1)), "nan", 3]),
        ("age", pa.array([True, None, False]), [1, "nan", 0]),
        ("age", pa.array(["1.25", None]).cast(pa.decimal128(6, 2)), [1.25, "nan"]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_values_of_every_type_become_their_text_or_float32(
    tmp_path: Path, name: str, column: pa.Array, values: list[Any]
) -> None:
    h5 = to_test_h5(tmp_path, raw_table(len(column), **{name: column}))
    assert [row[name] for row in rows_of_h5(h5)] == values


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        (list(range(0, 360, 3)), [str(i) for i in range(0, 360, 3)]),
        ([f"{10**i}" for i in range(120)], None),
        ([f"아이디,{'é' * (i % 5)}{i}" for i in range(120)], None),
        ([f"{i:07d}" for i in range(120)], None),
    ],
    ids=["integers", "growing", "not ASCII", "leading zeros"],
)
def test_ids_are_kept_as_they_are(tmp_path: Path, ids: list[Any], texts: Any) -> None:
    with h5py.File(to_test_h5(tmp_path, raw_table(uid=ids))) as file:
        assert [value.decode() for value in file["id"]] == (texts or ids)


def test_columns_whose_names_are_paths_keep_apart(tmp_path: Path) -> None:
    names = {"profile": ("a", "a%2Fb", "."), "targets": ("a/b",), "sequences": ("/events",)}
    values = dict(zip(("a", "a%2Fb", "a/b", "."), "xyzw"))
    table = raw_table(30, **{name: [value] * 30 for name, value in values.items()})
    table = table.append_column("/events", pa.array(["1,2"] * 30))
    with H5Table(to_test_h5(tmp_path, table, columns=with_roles(**names))) as h5:
        assert {name: h5.vocabulary(name) for name in values} == {n: [v] for n, v in values.items()}
        assert h5.read(0, 1).sequences["/events"].values.tolist() == [1, 2]
