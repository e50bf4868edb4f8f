"""What conversion and the H5 reader refuse, and what a crash leaves: never a half-made file."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.config.sampling import Sampling
from feseq.dataset import conversion, shuffle
from feseq.dataset.conversion import convert_test, convert_train
from feseq.dataset.sampling import sample
from feseq.dataset.selection import Selection, write_selections
from feseq.dataset.store import H5Table
from feseq.raw.parts import read_parts
from feseq.raw.reading import open_parquet
from support.raw_tables import COLUMNS, content, raw_table, to_test_h5, to_train_h5, write_raw


def test_a_selection_of_another_file_is_refused(tmp_path: Path) -> None:
    raw, selection = write_raw(tmp_path, raw_table(20)), tmp_path / "selection.parquet"
    write_selections([Selection(np.array([3, 20]), np.int8([0, 1]), np.int64([0, 0]))], selection)
    train, valid = tmp_path / "train.h5", tmp_path / "valid.h5"
    with pytest.raises(UserError, match=r"row 20.*has 20 rows"):
        convert_train(raw, selection, COLUMNS, train, valid)
    assert not train.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({3: "U2", 5: "U2", 7: "U0"}, r"2 IDs of column 'uid' occur more than once.*row [02]\)"),
        ({4: None, 9: None}, r"ID 'uid' is missing in 2 of .* first row 4"),
    ],
)
def test_duplicate_and_missing_ids_are_refused_with_count_and_example(
    tmp_path: Path, changes: dict[int, Any], message: str
) -> None:
    ids = [changes.get(i, f"U{i}") for i in range(10)]
    with pytest.raises(UserError, match=message):
        to_test_h5(tmp_path, raw_table(10, uid=ids))
    assert os.listdir(tmp_path) == ["test.parquet"]


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


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pa.array([[1], [2]]), r"ID 'uid' of type list<.*strings or integers"),
        (pa.array([{"a": 1}, {"a": 2}]), r"ID 'uid' of type struct<"),
        (pa.array([b"a", b"\xff"]), r"ID 'uid' of type binary cannot be read as UTF-8"),
        (pa.array([b"a", b"\xff"]).view(pa.string()), r"ID 'uid' of type string cannot .*UTF-8"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_an_id_that_is_no_text_is_refused(tmp_path: Path, ids: pa.Array, message: str) -> None:
    with pytest.raises(UserError, match=message):
        to_test_h5(tmp_path, raw_table(2, uid=ids))
    assert os.listdir(tmp_path) == ["test.parquet"]


def test_column_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, raw_table(9, unsaid=["x"] * 9), store_schema=False)
    raw.write_bytes(raw.read_bytes().replace(b"unsaid", b"uns\xffid"))
    with pytest.raises(UserError, match=r"raw.parquet: cannot be read"):
        open_parquet(raw)


@pytest.mark.usefixtures("small_batches")
def test_a_bad_token_late_in_the_file_stops_with_its_row_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    events = ["1,2"] * 119 + ["1,x"]
    table = raw_table(events=events)
    for convert in (to_train_h5, to_test_h5):
        with pytest.raises(UserError, match="'events', row 119: token 'x'"):
            convert(tmp_path, table)
    raw = ["parts.json", "selection.parquet", "test.parquet", "train.parquet"]
    assert sorted(os.listdir(tmp_path)) == raw


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    table = raw_table()
    for name in ("price", "uid"):
        with pytest.raises(UserError, match="duplicate"):
            to_test_h5(tmp_path, table.append_column(name, table[name]))


def test_an_empty_test_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows"):
        to_test_h5(tmp_path, raw_table()[:0])


@pytest.mark.parametrize(
    ("column", "message"), [("country", "column 'country' holds a NUL"), ("uid", "ID 'uid' holds")]
)
def test_a_nul_byte_is_refused(tmp_path: Path, column: str, message: str) -> None:
    values = ["a\0b", *(f"v{i}" for i in range(19))]
    with pytest.raises(UserError, match=message):
        to_test_h5(tmp_path, raw_table(20, **{column: values}))


def test_a_selection_of_a_file_since_replaced_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, raw_table(100))
    selection, train = tmp_path / "selection.parquet", tmp_path / "train.h5"
    files: dict[str, Any] = {"selection": selection, "parts": tmp_path / "parts.json"}
    sample(raw, "y", None, Sampling(), part_rows=100, **files)
    part = read_parts(files["parts"])[0]
    convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5", part=part)
    train.unlink()
    write_raw(tmp_path, raw_table(200, seed=5))
    with pytest.raises(UserError, match=r"raw.parquet: was replaced"):
        convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5", part=part)
    sample(raw, "y", None, Sampling(seed=7), part_rows=100, **files)
    other = replace(read_parts(files["parts"])[0], draw=part.draw)
    with pytest.raises(UserError, match=r"selection.parquet: was drawn for other parts"):
        convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5", part=other)
    assert not train.exists()


def damaged(whole: bytes) -> dict[str, bytes]:
    cuts = {f"cut at {i}": whole[:i] for i in (0, 3, 4, 100, 3000)}
    cuts |= {f"short of {i}": whole[:-i] for i in (1, 8, 200)}
    cuts |= {f"cut to {share} %": whole[: len(whole) * share // 100] for share in range(5, 100, 8)}
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
        convert_test(raw, COLUMNS, tmp_path / "test.h5")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_missing_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.parquet: cannot be read"):
        convert_test(tmp_path / "none.parquet", COLUMNS, tmp_path / "test.h5")


def test_what_a_killed_run_left_behind_does_not_stop_the_next(tmp_path: Path) -> None:
    # In a container a process number comes back soon.
    (tmp_path / f".train.h5.{os.getpid()}.work").mkdir()
    (tmp_path / f".train.h5.{os.getpid()}.part").write_text("half")
    train, _ = to_train_h5(tmp_path, raw_table(), valid_rows=range(20))
    with H5Table(train) as h5:
        assert h5.rows == 100


def test_an_older_h5_stays_whole_when_its_replacement_fails(tmp_path: Path) -> None:
    h5 = to_test_h5(tmp_path, raw_table())
    before = h5.read_bytes()
    with pytest.raises(UserError):
        to_test_h5(tmp_path, raw_table(events=["x"] * 120))
    assert h5.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_h5_is_refused(tmp_path: Path, share: float) -> None:
    h5 = to_test_h5(tmp_path, raw_table(2000))
    whole = h5.read_bytes()
    h5.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=re.escape(str(h5))):
        H5Table(h5)


def test_another_h5_format_is_refused(tmp_path: Path) -> None:
    h5 = to_test_h5(tmp_path, raw_table())
    for name, value in (("version", 1), ("version", 4), ("version", "new"), ("format", "other")):
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
    monkeypatch.setattr("feseq.common.files.shutil.disk_usage", nearly_full)
    with pytest.raises(OSError, match="No space left on device: 0 MiB free"):
        to_test_h5(tmp_path, raw_table(40))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.json", "test.parquet"]


# Runs in a process of its own: conversion that is killed at the n-th call of a function.
KILLED = """
import os, pkgutil, signal, sys
sys.path[:0] = ["tests", "scripts"]
from pathlib import Path
from support.raw_tables import COLUMNS
import feseq.common.files, feseq.dataset.conversion

feseq.dataset.conversion.BATCH_ROWS, feseq.dataset.shuffle._ROWS = 16, 16
feseq.dataset.shuffle.STRETCH_BYTES = 1_500
# Where Snakemake has run before, the first file renamed would be a raw file's remembered digest.
feseq.raw.version.REMEMBERED = Path(sys.argv[4], "none", "none")
owner, name, last = pkgutil.resolve_name(sys.argv[1]), sys.argv[2], int(sys.argv[3])
original, calls = getattr(owner, name), iter(range(1, 1_000))

def counted(*arguments, **options):
    if next(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)

setattr(owner, name, counted)
folder = Path(sys.argv[4])
train, valid, test = (folder / f"{part}.h5" for part in ("train", "valid", "test"))
if sys.argv[5] == "train":
    feseq.dataset.conversion.convert_train(
        folder / "train.parquet", folder / "selection.parquet", COLUMNS, train, valid)
else:
    feseq.dataset.conversion.convert_test(folder / "test.parquet", COLUMNS, test)
"""


@pytest.mark.parametrize(
    ("split", "owner", "name", "last"),
    [
        ("train", "feseq.common.files.os", "replace", 2),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("train", "feseq.dataset.shuffle.Shuffle", "append", 4),
                ("train", "feseq.dataset.shuffle.Shuffle", "write", 2),
                ("train", "feseq.dataset.store.H5Writer", "append", 2),
                ("train", "feseq.dataset.store.H5Writer", "finish", 1),
                ("train", "feseq.dataset.store.H5Writer", "finish", 2),
                ("train", "feseq.common.files.os", "replace", 1),
                ("test", "feseq.dataset.store.H5Writer", "append", 5),
                ("test", "feseq.dataset.store.H5Writer", "finish", 1),
                ("test", "feseq.common.files.os", "replace", 1),
            )
        ),
    ],
)
def test_a_kill_at_any_point_leaves_no_half_file_and_the_next_run_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, owner: str, name: str, last: int
) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 16)
    monkeypatch.setattr(shuffle, "_ROWS", 16)
    monkeypatch.setattr(shuffle, "STRETCH_BYTES", 1_500)

    def convert() -> list[Path]:
        table = raw_table()
        return (
            [*to_train_h5(tmp_path, table)] if split == "train" else [to_test_h5(tmp_path, table)]
        )

    outputs = convert()
    expected = [content(path) for path in outputs]
    for path in outputs:
        path.unlink()
    before = set(os.listdir(tmp_path))
    arguments = [owner, name, str(last), str(tmp_path), split]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert set(os.listdir(tmp_path)) > before
    for path, whole in zip(outputs, expected):
        assert not path.exists() or content(path) == whole
    assert [content(path) for path in convert()] == expected
    assert set(os.listdir(tmp_path)) == before | {path.name for path in outputs}
