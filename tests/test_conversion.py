"""Raw parquet to H5: whole round trips, shuffling on disk, and refusing what is unusable."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from conftest import (
    COLUMNS,
    raw_table,
    split_events,
    to_test_h5,
    to_train_h5,
    with_roles,
    write_raw,
)

from feseq import conversion, shuffle
from feseq.columns import Columns
from feseq.conversion import convert_test, convert_train
from feseq.errors import UserError
from feseq.files import fingerprint
from feseq.sampling import Selection, read_labels, select_rows
from feseq.store import H5Table

Row = dict[str, Any]


def rows_of_raw(table: pa.Table, columns: Columns = COLUMNS) -> list[Row]:
    """What H5 must give back, from the raw table, row by row."""
    rows = []
    for row in table.select(list(dict.fromkeys(columns.features))).to_pylist():
        kept = {name: row[name] for name in columns.categorical}
        kept |= {name: split_events(row[name]) for name in columns.sequences}
        for name in columns.numeric:
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
            words = [None, *(word.decode() for word in file[f"vocabulary/{name}"][1:])]
            for row, code in zip(rows, file["categorical"][:, i]):
                row[name] = words[code]
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


def content(path: Path) -> dict[str, Any]:
    """All datasets with their types, and all attributes but the source."""
    found: dict[str, Any] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, item[()].tobytes() if item.dtype != object
                           else item[()].tolist())  # fmt: skip

    with h5py.File(path) as file:
        file.visititems(keep)
        return found | {name: value for name, value in file.attrs.items() if name != "source"}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 7)
    monkeypatch.setattr(shuffle, "BUCKET_ROWS", 10)


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
        assert np.array_equal(raw_rows, in_order)
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


def test_shards_cover_the_test_file_without_gap_or_overlap(tmp_path: Path) -> None:
    for rows_per_shard, expected in ((50, [50, 50, 20]), (60, [60, 60]), (500, [120])):
        to_test_h5(tmp_path, raw_table(), rows_per_shard=rows_per_shard)
        shards = json.loads((tmp_path / "shards.json").read_text())
        assert [shard["stop"] - shard["start"] for shard in shards] == expected
        assert [shard["start"] for shard in shards[1:]] == [s["stop"] for s in shards[:-1]]
        assert (shards[0]["start"], shards[-1]["stop"]) == (0, 120)


def test_a_selection_of_some_rows_takes_these_alone(tmp_path: Path) -> None:
    table = raw_table()
    raw, selection = write_raw(tmp_path, table), tmp_path / "selection.parquet"
    rows = np.array([3, 50, 51, 119])
    Selection(rows, np.array([0, 1, 0, 1], bool), np.array([1, 0, 0, 1])).write(selection)
    train, valid = tmp_path / "train.h5", tmp_path / "valid.h5"
    convert_train(raw, selection, COLUMNS, train, valid)
    expected = rows_of_raw(table)
    assert rows_of_h5(train) == [expected[51], expected[3]]
    assert rows_of_h5(valid) == [expected[50], expected[119]]


def test_a_selection_of_another_file_is_refused(tmp_path: Path) -> None:
    raw, selection = write_raw(tmp_path, raw_table(20)), tmp_path / "selection.parquet"
    Selection(np.array([3, 20]), np.array([False, True]), np.array([0, 0])).write(selection)
    train, valid = tmp_path / "train.h5", tmp_path / "valid.h5"
    with pytest.raises(UserError, match=r"row 20.*has 20 rows"):
        convert_train(raw, selection, COLUMNS, train, valid)
    assert not train.exists()


def test_the_result_does_not_depend_on_buckets_batches_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = raw_table(200)
    # One large token, among the train rows: valid.h5 must be the same wherever batches end.
    events = table["events"].to_pylist()
    events[58] = "70000"
    table = raw_table(200, events=events)
    valid_rows = range(1, 200, 2)
    plain = to_train_h5(tmp_path / "plain", table, valid_rows=valid_rows)
    plain_test = to_test_h5(tmp_path / "plain", table)
    for batch_rows, bucket_rows, row_group_size in ((7, 10, 1000), (16, 1, 13), (500, 33, 64)):
        monkeypatch.setattr(conversion, "BATCH_ROWS", batch_rows)
        monkeypatch.setattr(shuffle, "BUCKET_ROWS", bucket_rows)
        folder = tmp_path / f"{batch_rows}"
        parts = to_train_h5(folder, table, valid_rows=valid_rows, row_group_size=row_group_size)
        for part, expected in zip(parts, plain):
            assert content(part) == content(expected)
        test = to_test_h5(folder, table, row_group_size=row_group_size)
        assert content(test) == content(plain_test)


@pytest.mark.parametrize("largest", [[300, 70_000, 5_000_000_000], [10**18 - 1, 5, 70_000]])
def test_ever_wider_tokens_and_vocabularies_are_kept_without_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: list[int]
) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 30)
    monkeypatch.setattr(shuffle, "BUCKET_ROWS", 70)
    rows = 600
    events: list[str | None] = [f"{i % 256},{255 - i % 256}" for i in range(rows)]
    for row, token in zip((100, 200, 301), largest):
        events[row] = f"1,{token},2"
    # Odd rows, those of valid.h5, have few items, and one token that is not small.
    items = [f"item {0 if i % 2 else i}" for i in range(rows)]
    table = raw_table(rows, events=events, item=items)
    parts = to_train_h5(tmp_path, table, valid_rows=range(1, rows, 2))
    expected = rows_of_raw(table)
    for path in (*parts, to_test_h5(tmp_path, table)):
        with h5py.File(path) as file:
            values, codes = file["sequence/events/values"], file["categorical"]
            assert rows_of_h5(path) == [expected[row] for row in file["row"]]
            assert values.dtype == np.min_scalar_type(values[:].max())
            assert codes.dtype == np.min_scalar_type(codes[:].max())


def test_attributes_say_what_the_file_holds(tmp_path: Path) -> None:
    table = raw_table()
    train, _ = to_train_h5(tmp_path, table, valid_rows=range(30))
    with h5py.File(train) as file:
        attributes = dict(file.attrs)
        assert file["vocabulary/country"].asstr()[0] == ""
        words = file["vocabulary/country"].asstr()[1:].tolist()
        assert set(file) == {"numeric", "categorical", "vocabulary", "sequence", "label", "row"}
    assert attributes["format"] == "feseq-table"
    assert attributes["version"] == 1
    assert attributes["rows"] == 90
    assert json.loads(attributes["numeric_columns"]) == ["price", "age"]
    assert json.loads(attributes["categorical_columns"]) == ["country", "item"]
    assert json.loads(attributes["sequence_columns"]) == ["events"]
    size = (tmp_path / "train.parquet").stat().st_size
    assert json.loads(attributes["source"]) == {
        "file": "train.parquet",
        "rows": 120,
        "fingerprint": fingerprint(tmp_path / "train.parquet"),
        "bytes": size,
        "simulated": False,
    }
    # Codes are given in the order of first occurrence, each word once.
    assert words == list(dict.fromkeys(x for x in table["country"].to_pylist() if x is not None))


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([3, None, -1, 3], pa.int32()), ["3", None, "-1", "3"]),
        (pa.array([1.0, float("nan"), 2.5, None]), ["1", None, "2.5", None]),
        (pa.array([True, False, None, True]), ["true", "false", None, "true"]),
        (pa.array(["b", None, "a", "b"]).dictionary_encode(), ["b", None, "a", "b"]),
        (pa.array(["b", None, "", "b"], pa.large_string()), ["b", None, "", "b"]),
        (pa.array([7, None, 7, 9]).dictionary_encode(), ["7", None, "7", "9"]),
        (pa.nulls(4, pa.string()), [None] * 4),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_categories_of_every_type_become_their_text(
    tmp_path: Path, column: pa.Array, words: list[str | None]
) -> None:
    h5 = to_test_h5(tmp_path, raw_table(4, country=column))
    assert [row["country"] for row in rows_of_h5(h5)] == words


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 2**24 + 1], pa.int64()),
        pa.array([1, None, 3], pa.float64()),
        pa.array([True, None, False]),
        pa.array([1, None, 3], pa.int8()).cast(pa.decimal128(6, 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_numerics_of_every_type_become_float32_and_null_nan(
    tmp_path: Path, column: pa.Array
) -> None:
    h5 = to_test_h5(tmp_path, raw_table(3, age=column))
    expected = [
        "nan" if value is None else float(np.float32(value)) for value in column.to_pylist()
    ]
    assert [row["age"] for row in rows_of_h5(h5)] == expected


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({3: "U2", 5: "U2", 7: "U0"}, r"2 IDs of column 'uid' occur more than once.*row [02]\)"),
        ({4: None, 9: None}, r"ID 'uid' is missing in 2 rows, first row 4"),
    ],
)
def test_duplicate_and_missing_ids_are_refused_with_count_and_example(
    tmp_path: Path, changes: dict[int, Any], message: str
) -> None:
    ids = [changes.get(i, f"U{i}") for i in range(10)]
    with pytest.raises(UserError, match=message):
        to_test_h5(tmp_path, raw_table(10, uid=ids))
    assert os.listdir(tmp_path) == ["test.parquet"]


def test_the_id_is_found_beside_a_column_whose_name_begins_alike(tmp_path: Path) -> None:
    table = pa.table({"uid.old": ["x"] * 120}).append_column("y.old", [["x"] * 120])
    for name, column in zip(raw_table().column_names, raw_table().columns):
        table = table.append_column(name, column)
    assert rows_of_h5(to_test_h5(tmp_path, table)) == rows_of_raw(table)
    train, valid = to_train_h5(tmp_path, table)
    assert len(rows_of_h5(train)) + len(rows_of_h5(valid)) == 120


def test_columns_are_found_by_name_wherever_they_stand(tmp_path: Path) -> None:
    table = raw_table()
    turned = table.select(table.column_names[::-1])
    assert content(to_test_h5(tmp_path / "a", table)) == content(to_test_h5(tmp_path / "b", turned))


def test_a_model_without_numerics_has_an_h5_without_them(tmp_path: Path) -> None:
    columns = with_roles(numeric=())
    parts = to_train_h5(tmp_path, raw_table(), columns=columns, valid_rows=range(20))
    with H5Table(parts[0]) as table:
        assert table.read(0, 50).numeric.shape == (50, 0)
    expected = rows_of_raw(raw_table(), columns)
    assert rows_of_h5(parts[1]) == expected[:20]


@pytest.mark.parametrize("texts", [("0", "1"), ("0.0", "1.0")])
def test_labels_that_sampling_accepts_as_text_convert_too(
    tmp_path: Path, texts: tuple[str, str]
) -> None:
    table = raw_table()
    labels = table["y"].to_pylist()
    as_text = raw_table(y=[texts[label] for label in labels])
    train, _ = to_train_h5(tmp_path, as_text, valid_rows=range(20))
    with h5py.File(train) as file:
        assert file["label"][:].tolist() == labels[20:]


def test_parallel_sequences_are_kept_together(tmp_path: Path) -> None:
    columns = with_roles(sequences=("events", "shops"), targets=("item", "shop"))
    shops = [
        ",".join(str(i) for i, _ in enumerate(split_events(text)))
        for text in raw_table()["events"].to_pylist()
    ]
    table = raw_table(shops=shops, shop=["s"] * 120)
    train, _ = to_train_h5(tmp_path, table, columns=columns, valid_rows=range(20))
    assert rows_of_h5(train) == rows_of_raw(table, columns)[20:]
    shops[33] += ",1,2"
    with pytest.raises(UserError, match=r"row 33: .*'shops'.*equally long"):
        to_test_h5(tmp_path, raw_table(shops=shops, shop=["s"] * 120), columns=columns)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["age"], r"1 of 6 columns are missing: 'age'; .*drop group 'm' from columns.use"),
        (["item", "price"], r"2 of 6 .*'item', 'price'.* drop group 'basic' and 'money'"),
        (["uid"], r"'uid'; .*columns.label or columns.id"),
    ],
)
def test_a_missing_column_is_named_with_the_group_to_drop(
    tmp_path: Path, missing: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        to_test_h5(tmp_path, raw_table().drop_columns(missing))
    assert os.listdir(tmp_path) == ["test.parquet"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"price": pa.array([[1.0]] * 4)}, r"'price' has type list<.*cannot be numeric"),
        ({"price": ["1", "2", "3", "4"]}, r"'price' has type string, cannot be numeric"),
        ({"item": pa.array([[1]] * 4)}, r"'item' has type list<.*cannot be categorical"),
        ({"events": [1, 2, 3, 4]}, r"'events' has type int64, cannot be a sequence"),
    ],
)
def test_an_unusable_column_type_is_refused_by_name(
    tmp_path: Path, column: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        to_test_h5(tmp_path, raw_table(4, **column))


@pytest.mark.usefixtures("small_batches")
def test_a_bad_token_late_in_the_file_stops_with_its_row_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    events = ["1,2"] * 119 + ["1,x"]
    table = raw_table(events=events)
    for convert in (to_train_h5, to_test_h5):
        with pytest.raises(UserError, match="'events', row 119: token 'x'"):
            convert(tmp_path, table)
    assert sorted(os.listdir(tmp_path)) == ["selection.parquet", "test.parquet", "train.parquet"]


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    table = raw_table()
    for name in ("price", "uid"):
        with pytest.raises(UserError, match=f"more than once: '{name}'"):
            to_test_h5(tmp_path, table.append_column(name, table[name]))


def test_an_empty_test_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows"):
        to_test_h5(tmp_path, raw_table()[:0])


def damaged(whole: bytes) -> dict[str, bytes]:
    cuts = {f"cut at {i}": whole[:i] for i in (0, 3, 4, 100, 3000)}
    cuts |= {f"short of {i}": whole[:-i] for i in (1, 8, 200)}
    other = {"text": b"uid,item\n1,2\n" * 50, "zeros": bytes(len(whole))}
    return cuts | other | {"pages": whole[:4] + b"\xff" * 3000 + whole[3004:]}


@pytest.mark.parametrize("kind", damaged(bytes(10_000)))
def test_damaged_parquet_is_refused_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    to_train_h5(tmp_path, raw_table())
    for name in ("train.h5", "valid.h5"):
        (tmp_path / name).unlink()
    raw = tmp_path / "train.parquet"
    raw.write_bytes(damaged(raw.read_bytes())[kind])
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=re.escape(str(raw))):
        convert_train(
            raw,
            tmp_path / "selection.parquet",
            COLUMNS,
            tmp_path / "train.h5",
            tmp_path / "valid.h5",
        )
    with pytest.raises(UserError, match=re.escape(str(raw))):
        convert_test(
            raw,
            COLUMNS,
            tmp_path / "test.h5",
            tmp_path / "shards.json",
            rows_per_shard=9,
        )
    assert sorted(os.listdir(tmp_path)) == before


def test_a_missing_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        convert_test(
            tmp_path / "none.parquet",
            COLUMNS,
            tmp_path / "test.h5",
            tmp_path / "shards.json",
            rows_per_shard=9,
        )


def test_what_a_killed_run_left_behind_does_not_stop_the_next(tmp_path: Path) -> None:
    # In a container a process number comes back soon.
    (tmp_path / f".train.h5.{os.getpid()}.work").mkdir()
    (tmp_path / f".train.h5.{os.getpid()}.part").write_text("half")
    train, _ = to_train_h5(tmp_path, raw_table(), valid_rows=range(20))
    assert len(rows_of_h5(train)) == 100


def test_an_older_h5_stays_whole_when_its_replacement_fails(tmp_path: Path) -> None:
    h5 = to_test_h5(tmp_path, raw_table())
    before = h5.read_bytes()
    with pytest.raises(UserError):
        to_test_h5(tmp_path, raw_table(events=["x"] * 120))
    assert h5.read_bytes() == before


def test_reading_in_pieces_gives_the_whole_table(tmp_path: Path) -> None:
    table = raw_table()
    with H5Table(to_test_h5(tmp_path, table)) as h5:
        blocks = list(h5.blocks(block_rows=50))
        assert [len(block) for block in blocks] == [50, 50, 20]
        ids = np.concatenate([block.id for block in blocks])
        assert [word.decode() for word in ids] == table["uid"].to_pylist()
        histories = [
            block.sequences["events"].take(np.array([i])).values.tolist()
            for block in blocks
            for i in range(len(block))
        ]
    assert histories == [split_events(text) for text in table["events"].to_pylist()]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_h5_is_refused(tmp_path: Path, share: float) -> None:
    h5 = to_test_h5(tmp_path, raw_table(2000))
    whole = h5.read_bytes()
    h5.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=re.escape(str(h5))):
        H5Table(h5)


def test_another_h5_format_is_refused(tmp_path: Path) -> None:
    h5 = to_test_h5(tmp_path, raw_table())
    for name, value in (("version", 2), ("version", "new"), ("format", "other")):
        with h5py.File(h5, "a") as file:
            file.attrs[name] = value
        with pytest.raises(UserError, match=re.escape(str(h5))):
            H5Table(h5)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numeric"] = np.zeros(3)
    for path in (tmp_path / "other.h5", tmp_path / "none.h5"):
        with pytest.raises(UserError, match=re.escape(str(path))):
            H5Table(path)


def test_an_h5_that_was_never_finished_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion.H5Writer, "finish", lambda self, *_: self.file.close())
    with pytest.raises(UserError, match="not a complete H5 file"):
        H5Table(to_test_h5(tmp_path, raw_table()))


def test_a_full_disk_stops_with_a_clear_error_and_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1_000))

    def nearly_full(_: Path) -> SimpleNamespace:
        # Enough for the first blocks, then no more.
        return SimpleNamespace(free=10**12 if next(calls) < 2 else 10**6)

    monkeypatch.setattr(conversion, "BATCH_ROWS", 7)
    monkeypatch.setattr("feseq.store.shutil.disk_usage", nearly_full)
    with pytest.raises(OSError, match="No space left on device: 0 MiB free"):
        to_test_h5(tmp_path, raw_table(40))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.parquet"]


def test_columns_whose_names_are_paths_keep_apart(tmp_path: Path) -> None:
    names = {"profile": ("a", "."), "targets": ("a/b",), "sequences": ("/events",)}
    table = raw_table(30, **{"a": ["x"] * 30, ".": ["y"] * 30, "a/b": ["z"] * 30})
    table = table.append_column("/events", pa.array(["1,2"] * 30))
    with H5Table(to_test_h5(tmp_path, table, columns=with_roles(**names))) as h5:
        assert [h5.vocabulary(name) for name in ("a", ".", "a/b")] == [["", w] for w in "xyz"]
        assert h5.read(0, 1).sequences["/events"].values.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("column", "message"), [("country", "column 'country' holds a NUL"), ("uid", "ID 'uid' holds")]
)
def test_a_nul_byte_is_refused(tmp_path: Path, column: str, message: str) -> None:
    values = ["a\0b", *(f"v{i}" for i in range(19))]
    with pytest.raises(UserError, match=message):
        to_test_h5(tmp_path, raw_table(20, **{column: values}))


def test_columns_without_a_single_value_are_all_missing(tmp_path: Path) -> None:
    nulls = {name: pa.nulls(20) for name in ("price", "events", "country")}
    with H5Table(to_test_h5(tmp_path, raw_table(20, **nulls))) as h5:
        block = h5.read(0, 20)
    assert np.isnan(block.numeric[:, 0]).all()
    assert (block.categorical[:, 0] == 0).all()
    assert block.sequences["events"].lengths.sum() == 0


def test_a_selection_of_a_file_since_replaced_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, raw_table(100))
    chosen = select_rows(read_labels(raw, "y"), None, 0.25, seed=3)
    selection, train = tmp_path / "selection.parquet", tmp_path / "train.h5"
    replace(chosen, raw=fingerprint(raw)).write(selection)
    convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5")
    train.unlink()
    write_raw(tmp_path, raw_table(200, seed=5))
    with pytest.raises(UserError, match="was drawn from another file"):
        convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5")
    assert not train.exists()
