"""Raw parquet to H5: round trips, and what faults and crashes leave: never a half-made file."""

import json
import os
import re
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from support.raw_tables import (
    COLUMNS,
    content,
    raw_table,
    selected,
    split_events,
    to_test_h5,
    to_train_h5,
    with_columns,
    with_roles,
    write_raw,
)
from support.trainings import end_at
from tossctr.common import files
from tossctr.common.errors import UserError
from tossctr.datasets import conversion
from tossctr.datasets.categories import codes_of
from tossctr.datasets.conversion import convert_test, convert_train
from tossctr.datasets.draw import sample, write_selections
from tossctr.datasets.split import Sampling
from tossctr.datasets.store import H5Table, H5Writer
from tossctr.features.feature_map import FeatureMap, read_columns
from tossctr.features.fitting import fit_feature_map

Row = dict[str, Any]
F32 = float(np.float32(0.1))
PRICES, F32_PRICES = pa.array(["0.49", "2.90"]), np.array([0.49, 2.9], np.float32).tolist()
DECIMALS = pa.array(["700.00", None, "7.50"]).cast(pa.decimal128(6, 2))


def rows_of_raw(table: pa.Table) -> list[Row]:
    """What H5 must give back, from the raw table, row by row."""
    rows = table.select([*COLUMNS.categorical, *COLUMNS.sequences, *COLUMNS.numeric]).to_pylist()
    for row in rows:
        row |= {name: split_events(row[name]) for name in COLUMNS.sequences}
        for name in COLUMNS.numeric:
            row[name] = plain_number(np.float32(np.nan if row[name] is None else row[name]))
    return rows


def plain_number(value: np.float32) -> float | str:
    return "nan" if np.isnan(value) else float(value)


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
            *words, end = file[f"vocabulary/{name}"][:].tobytes().decode().split("\0")
            assert end == ""
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
                row[name] = plain_number(value)
    return rows


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("shuffled_bytes", "fewest", "most"), [(1 << 30, 1, 1), (4_000, 3, 39)])
def test_the_files_give_back_every_raw_value_and_are_shuffled_as_far_as_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffled_bytes: int, fewest: int, most: int
) -> None:
    monkeypatch.setattr(conversion, "SHUFFLED_BYTES", shuffled_bytes)
    table = raw_table(200)
    expected = rows_of_raw(table)
    assert {"nan", float("inf"), float("-inf")} <= {row["price"] for row in expected}
    assert {None, ""} <= {row["country"] for row in expected}
    chosen = selected(table["y"].to_numpy(), valid_share=0.4)
    chosen = replace(chosen, period=(chosen.row % 5).astype(np.uint8))
    write_selections([chosen], tmp_path / "selection.parquet")
    files = {name: tmp_path / f"{name}.h5" for name in ("train", "valid")}
    convert_train(write_raw(tmp_path, table), tmp_path / "selection.parquet", COLUMNS, **files)
    place, part = np.empty((2, 200), int)
    place[chosen.row], part[chosen.row] = chosen.position, chosen.split
    seen: list[int] = []
    for number, path in enumerate(files.values()):
        with h5py.File(path) as file:
            stored = {name: file[name][:] for name in ("row", "label", "period")}
        row = stored["row"]
        assert rows_of_h5(path) == [expected[i] for i in row]
        assert stored["label"].tolist() == table["y"].to_numpy()[row].tolist()
        assert set(part[row]) == {number}
        assert stored["period"].tolist() == (row % 5).tolist()
        # Shuffles that follow each other: in the drawn order, and behind all rows before them.
        cuts = [0, *(1 + np.flatnonzero(np.diff(place[row]) < 0)), len(row)]
        assert fewest <= len(cuts) - 1 <= most
        assert sum(row[i:].min() > max([-1, *row[:i]]) for i in cuts[:-1]) >= fewest
        seen += row.tolist()
    assert sorted(seen) == list(range(200))


@pytest.mark.usefixtures("small_batches")
def test_test_rows_come_back_in_file_order_with_their_ids(tmp_path: Path) -> None:
    kinds = (lambda i: f"{10**i}", lambda i: f"아이디,{'é' * (i % 5)}{i}", lambda i: f"{i:07d}")
    ids = [kinds[i % 3](i) for i in range(120)]
    table = raw_table(uid=ids).drop_columns("y")
    path = to_test_h5(tmp_path, table)
    assert rows_of_h5(path) == rows_of_raw(table)
    with h5py.File(path) as file:
        assert [word.decode() for word in file["id"]] == ids
        assert file["row"][:].tolist() == list(range(len(table)))
        assert "label" not in file
    with h5py.File(to_test_h5(tmp_path, raw_table(uid=range(0, 360, 3)))) as file:
        assert [word.decode() for word in file["id"]] == [str(i) for i in range(0, 360, 3)]


def test_the_result_does_not_depend_on_batches_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = raw_table(100)
    # One large token, among the train rows: valid.h5 must be the same wherever batches end.
    events = table["events"].to_pylist()
    events[58] = "70000"
    table = raw_table(100, events=events)
    rows = range(1, 100, 2)
    plain = to_train_h5(tmp_path / "plain", table, valid_rows=rows)
    plain_test = to_test_h5(tmp_path / "plain", table)
    for batch_rows, write_rows, row_group_size in ((7, 1000, 1000), (16, 4, 13), (20, 11, 1)):
        monkeypatch.setattr(conversion, "BATCH_ROWS", batch_rows)
        monkeypatch.setattr(conversion, "WRITTEN_ROWS", write_rows)
        folder = tmp_path / f"{batch_rows}"
        parts = to_train_h5(folder, table, valid_rows=rows, row_group_size=row_group_size)
        for part, expected in zip(parts, plain):
            assert content(part) == content(expected)
        test = to_test_h5(folder, table, row_group_size=row_group_size)
        assert content(test) == content(plain_test)


@pytest.mark.parametrize(
    ("column", "words", "numbers"),
    [
        (pa.array([3, None, -1], pa.int32()), ["3", None, "-1"], [3, "nan", -1]),
        (pa.array([2**24 + 1, None]), ["16777217", None], [2**24, "nan"]),
        (pa.array([1.0, np.nan, 2.5, None]), ["1", None, "2.5", None], [1, "nan", 2.5, "nan"]),
        (pa.array([0.1, 123456792.0], pa.float32()), ["0.1", "123456792"], [F32, 123456792]),
        (pa.array([0.1, 2, None], pa.float16()), ["0.1", "2", None], None),
        (pa.array([True, False, None]), ["true", "false", None], [1, 0, "nan"]),
        (pa.array(["b", None, "a", "b"]).dictionary_encode(), ["b", None, "a", "b"], None),
        (pa.array(["b", None, ""], pa.large_string()), ["b", None, ""], None),
        (pa.array([7, None, 7, 9]).dictionary_encode(), ["7", None, "7", "9"], None),
        (DECIMALS, ["700", None, "7.5"], [700, "nan", 7.5]),
        *((PRICES.cast(pa.decimal128(12, n)), ["0.49", "2.9"], F32_PRICES) for n in (2, 6)),
        (pa.nulls(4, pa.string()), [None] * 4, None),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_values_of_every_type_become_their_text_or_float32(
    tmp_path: Path, column: pa.Array, words: list[Any], numbers: list[Any] | None
) -> None:
    given = {"country": column} | ({"age": column} if numbers else {})
    rows = rows_of_h5(to_test_h5(tmp_path, raw_table(len(column), **given)))
    assert [row["country"] for row in rows] == words
    assert numbers is None or [row["age"] for row in rows] == numbers


def test_histories_with_another_separator_and_words_for_labels_read_the_same(
    tmp_path: Path,
) -> None:
    table = raw_table(40)
    words = {
        "events": pc.replace_substring(table["events"], ",", "|").to_pylist(),
        "y": ["Yes" if y else "no" for y in table["y"].to_pylist()],
    }
    columns = with_roles(separator="|")
    paths, others = (
        to_train_h5(tmp_path / name, each, columns=roles)
        for name, each, roles in (
            ("plain", table, COLUMNS),
            ("words", with_columns(table, **words), columns),
        )
    )
    assert [*map(content, paths)] == [*map(content, others)]
    # Who scores rows by a model knows what joins their events.
    feature_map = fit_feature_map(others[0], columns, 1)
    feature_map = FeatureMap.from_dict(feature_map.to_dict())
    assert read_columns([feature_map], None).separator == "|"
    with pytest.raises(UserError, match="separators"):
        read_columns([feature_map, fit_feature_map(paths[0], COLUMNS, 1)], None)


def test_columns_whose_names_are_paths_keep_apart(tmp_path: Path) -> None:
    names = {"profile": ("a", "a%2Fb", "."), "targets": ("a/b",), "sequences": ("/events",)}
    values = dict(zip(("a", "a%2Fb", "a/b", "."), "xyzw"))
    table = raw_table(30, **{name: [value] * 30 for name, value in values.items()})
    table = table.append_column("/events", pa.array(["1,2"] * 30))
    with H5Table(to_test_h5(tmp_path, table, columns=with_roles(**names))) as h5:
        assert {name: h5.vocabulary(name) for name in values} == {n: [v] for n, v in values.items()}
        assert h5.read(0, 1).sequences["/events"].values.tolist() == [1, 2]


TEN = [f"U{i}" for i in range(10)]
BYTES = pa.array([b"a", b"\xff"] * 5)
# Columns of a table of ten rows, or a change of it, and what its refusal names.
REFUSED: list[tuple[dict[str, Any] | Callable[[pa.Table], pa.Table], str]] = [
    ({"uid": [*TEN[:8], "U2", "U0"]}, "2 IDs"),
    ({"uid": [*TEN[:4], None, *TEN[5:9], None]}, "'uid'.* row 4"),
    ({"uid": [[i] for i in range(10)]}, "'uid'.*list<"),
    ({"uid": BYTES}, "'uid'.*binary.*UTF-8"),
    ({"uid": BYTES.view(pa.string())}, "'uid'.*UTF-8"),
    ({"uid": ["a\0b", *TEN[1:]]}, "'uid'.*NUL"),
    ({"country": ["a\0b", *TEN[1:]]}, "'country'.*NUL"),
    ({"country": BYTES.view(pa.string())}, "'country'.*UTF-8"),
    ({"events": pa.array([[1.0]] * 9 + [[]])}, "'events'.*list<"),
    ({"events": [[None, None]] * 10}, "'events', row 0: token None"),
    ({"events": ["1,2"] * 9 + ["1, x"]}, "'events', row 9: token ' x'"),
    (lambda table: table.drop_columns(["item", "price"]), "no column 'item', 'price'"),
    (lambda table: table.drop_columns(["uid"]), "no column 'uid'"),
    (lambda table: table.append_column("uid", table["uid"]), "occurs twice"),
    (lambda table: table[:0], "no rows"),
]


@pytest.mark.parametrize(("given", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_a_table_that_cannot_be_used_is_refused_by_column_and_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, named: str
) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 3)
    table = given(raw_table(10)) if callable(given) else raw_table(10, **given)
    with pytest.raises(UserError, match=named):
        to_test_h5(tmp_path, table)
    assert "test.h5" not in os.listdir(tmp_path)


def test_a_selection_of_a_file_since_replaced_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, raw_table(100))
    selection, train = tmp_path / "selection.parquet", tmp_path / "train.h5"
    drawn: dict[str, Any] = {"selection": selection, "parts": tmp_path / "parts.json"}
    sample(raw, "y", None, Sampling(), part_rows=100, **drawn)
    outputs = train, tmp_path / "valid.h5"
    convert_train(raw, selection, COLUMNS, *outputs, parts=drawn["parts"])
    train.unlink()
    write_raw(tmp_path, raw_table(200, seed=5))
    with pytest.raises(UserError, match=r"raw.parquet: was replaced"):
        convert_train(raw, selection, COLUMNS, *outputs, parts=drawn["parts"])
    older = selection.read_bytes()
    sample(raw, "y", None, Sampling(seed=7), part_rows=100, **drawn)
    selection.write_bytes(older)
    with pytest.raises(UserError, match=r"selection.parquet: was drawn for other parts"):
        convert_train(raw, selection, COLUMNS, *outputs, parts=drawn["parts"])
    assert not train.exists()


def test_damaged_parquet_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    train, valid = to_train_h5(tmp_path, raw_table())
    train.unlink()
    valid.unlink()
    raw = tmp_path / "train.parquet"
    whole, before = raw.read_bytes(), sorted(os.listdir(tmp_path))
    pages = whole[:4] + b"\xff" * 3000 + whole[3004:]
    for damaged in (b"", whole[: len(whole) * 9 // 10], b"uid,item\n1,2\n" * 50, pages):
        raw.write_bytes(damaged)
        with pytest.raises(UserError, match=re.escape(str(raw))):
            convert_train(raw, tmp_path / "selection.parquet", COLUMNS, train, valid)
        with pytest.raises(UserError, match=re.escape(str(raw))):
            convert_test(raw, COLUMNS, tmp_path / "test.h5")
        assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("damage", [0.0, 0.001, 0.3, 0.9, 0.9999, ("version", 8), ("format", "x")])
def test_an_h5_file_that_is_damaged_or_of_another_format_is_refused(
    tmp_path: Path, damage: Any
) -> None:
    h5 = to_test_h5(tmp_path, raw_table(300))
    if isinstance(damage, float):
        h5.write_bytes(h5.read_bytes()[: int(h5.stat().st_size * damage)])
    else:
        with h5py.File(h5, "a") as file:
            file.attrs.update([damage])
    with pytest.raises(UserError, match=f"{re.escape(str(h5))}.*delete it and run the same"):
        H5Table(h5)


OFFSETS, VALUES = "sequence/events/offsets", "sequence/events/values"


def put(file: h5py.File, name: str, value: Any) -> None:
    """Replace a dataset by another with these values."""
    del file[name]
    file[name] = value


def moved(file: h5py.File, rows: slice, by: int) -> None:
    """The offsets of these rows, moved."""
    offsets = file[OFFSETS][:]
    offsets[rows] += by
    put(file, OFFSETS, offsets)


CHANGES: dict[str, Callable[[h5py.File], object]] = {
    "offsets fall": lambda file: moved(file, slice(150, 160), 90),
    "offsets below 0": lambda file: moved(file, slice(0, 9), -(10**6)),
    "offsets beyond the values": lambda file: moved(file, slice(290, None), 10**6),
    "fewer offsets": lambda file: put(file, OFFSETS, file[OFFSETS][:-3]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_program_changed_is_refused_before_compiled_loops_read_it(
    tmp_path: Path, change: Callable[[h5py.File], object]
) -> None:
    h5 = to_test_h5(tmp_path, raw_table(300))
    with h5py.File(h5, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=f"{re.escape(str(h5))}: not a complete"):  # noqa: SIM117
        with H5Table(h5) as table:
            table.read(0, table.rows)


@pytest.mark.parametrize("most", [0, 10_000, 100_000])
def test_where_no_more_can_be_written_a_clear_error_and_no_half_file_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 7)
    expected = content(to_test_h5(tmp_path, raw_table(400)))
    convert = partial(convert_test, tmp_path / "test.parquet", COLUMNS, tmp_path / "again.h5")
    before = set(os.listdir(tmp_path))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a quota does, it lets some writes through.
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, unlimited[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*again\.h5"):
            convert()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert set(os.listdir(tmp_path)) == before
    convert()
    assert content(tmp_path / "again.h5") == expected


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (files.os, "replace", 1),
        pytest.param(conversion, "_write_shuffled", 2, marks=pytest.mark.slow),
        pytest.param(H5Writer, "finish", 2, marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_any_point_leaves_no_half_file_and_the_next_run_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    # Where Snakemake has run before, raw files' digests are written, too.
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conversion, "BATCH_ROWS", 16)
    monkeypatch.setattr(conversion, "WRITTEN_ROWS", 16)
    monkeypatch.setattr(conversion, "SHUFFLED_BYTES", 1_500)
    outputs = to_train_h5(tmp_path, raw_table())
    raw = Path("train.parquet"), Path("selection.parquet"), COLUMNS
    expected = [content(path) for path in outputs]
    for path in outputs:
        path.unlink()
    before = set(os.listdir(tmp_path))
    # A fork is killed after the n-th call of a function.
    child = os.fork()
    if child == 0:
        try:
            end_at(monkeypatch, owner, name, call, signal.SIGKILL)
            convert_train(*raw, *outputs)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert set(os.listdir(tmp_path)) > before
    for path, whole in zip(outputs, expected):
        assert not path.exists() or content(path) == whole
    convert_train(*raw, *outputs)
    assert [content(path) for path in outputs] == expected
    assert set(os.listdir(tmp_path)) == before | {path.name for path in outputs}
