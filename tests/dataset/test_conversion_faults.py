"""What conversion and the H5 reader refuse, and what a crash leaves: never a half-made file."""

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
import pyarrow as pa
import pytest

from feseq.common import files
from feseq.common.errors import UserError
from feseq.config.sampling import Sampling
from feseq.dataset import conversion, shuffle
from feseq.dataset.conversion import convert_test, convert_train
from feseq.dataset.sampling import sample
from feseq.dataset.store import H5Table, H5Writer
from feseq.raw.parts import read_parts
from support.raw_tables import COLUMNS, content, raw_table, to_test_h5, to_train_h5, write_raw
from support.trainings import end_at

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
    (lambda table: table.drop_columns(["age"]), "'age'.* 'm' .*columns.use"),
    (lambda table: table.drop_columns(["item", "price"]), "'item', 'price'.* 'basic' and 'money'"),
    (lambda table: table.drop_columns(["uid"]), "'uid'.*columns.id"),
    (lambda table: table.append_column("uid", table["uid"]), "occurs twice"),
    (lambda table: table[:0], "no rows"),
]


@pytest.mark.parametrize(("given", "named"), REFUSED, ids=lambda value: str(value)[:30])
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
    part = read_parts(drawn["parts"])[0]
    convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5", part=part)
    train.unlink()
    write_raw(tmp_path, raw_table(200, seed=5))
    with pytest.raises(UserError, match=r"raw.parquet: was replaced"):
        convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5", part=part)
    sample(raw, "y", None, Sampling(seed=7), part_rows=100, **drawn)
    other = replace(read_parts(drawn["parts"])[0], draw=part.draw)
    with pytest.raises(UserError, match=r"selection.parquet: was drawn for other parts"):
        convert_train(raw, selection, COLUMNS, train, tmp_path / "valid.h5", part=other)
    assert not train.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) * 9 // 10],
        lambda whole: b"uid,item\n1,2\n" * 50,
        lambda whole: whole[:4] + b"\xff" * 3000 + whole[3004:],
    ],
    ids=["empty", "nine tenths", "text", "pages"],
)
def test_damaged_parquet_is_refused_and_leaves_nothing(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    train, valid = to_train_h5(tmp_path, raw_table())
    train.unlink()
    valid.unlink()
    raw = tmp_path / "train.parquet"
    raw.write_bytes(damage(raw.read_bytes()))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=re.escape(str(raw))):
        convert_train(raw, tmp_path / "selection.parquet", COLUMNS, train, valid)
    with pytest.raises(UserError, match=re.escape(str(raw))):
        convert_test(raw, COLUMNS, tmp_path / "test.h5")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("damage", [0.0, 0.001, 0.3, 0.9, 0.9999, ("version", 5), ("format", "x")])
def test_an_h5_file_that_is_damaged_or_of_another_format_is_refused(
    tmp_path: Path, damage: Any
) -> None:
    h5 = to_test_h5(tmp_path, raw_table(300))
    if isinstance(damage, float):
        h5.write_bytes(h5.read_bytes()[: int(h5.stat().st_size * damage)])
    else:
        with h5py.File(h5, "a") as file:
            file.attrs.update([damage])
    for path in (h5, tmp_path / "none.h5"):
        with pytest.raises(UserError, match=re.escape(str(path))):
            H5Table(path)


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


def killed(work: Callable[[], None], owner: Any, name: str, call: int) -> int:
    """The status of a fork that does some work, and is killed after the n-th call of a function."""
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                end_at(patch, owner, name, call, signal.SIGKILL)
                work()
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


SLOW = [
    ("train", shuffle.Shuffle, "append", 4),
    ("train", shuffle.Shuffle, "write", 2),
    ("train", H5Writer, "append", 2),
    ("train", H5Writer, "finish", 1),
    ("train", H5Writer, "finish", 2),
    ("test", H5Writer, "append", 5),
    ("test", H5Writer, "finish", 1),
]


@pytest.mark.parametrize(
    ("split", "owner", "name", "call"),
    [
        ("train", files.os, "replace", 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW),
    ],
)
def test_a_kill_at_any_point_leaves_no_half_file_and_the_next_run_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, owner: Any, name: str, call: int
) -> None:
    # Where Snakemake has run before, raw files' digests are written, too.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conversion, "BATCH_ROWS", 16)
    monkeypatch.setattr(shuffle, "_ROWS", 16)
    monkeypatch.setattr(shuffle, "SHUFFLED_BYTES", 1_500)
    if split == "train":
        outputs = [*to_train_h5(tmp_path, raw_table())]
        raw = Path("train.parquet"), Path("selection.parquet"), COLUMNS
        convert = partial(convert_train, *raw, *outputs)
    else:
        outputs = [to_test_h5(tmp_path, raw_table())]
        convert = partial(convert_test, Path("test.parquet"), COLUMNS, *outputs)
    expected = [content(path) for path in outputs]
    for path in outputs:
        path.unlink()
    before = set(os.listdir(tmp_path))
    assert killed(convert, owner, name, call) == signal.SIGKILL
    assert set(os.listdir(tmp_path)) > before
    for path, whole in zip(outputs, expected):
        assert not path.exists() or content(path) == whole
    convert()
    assert [content(path) for path in outputs] == expected
    assert set(os.listdir(tmp_path)) == before | {path.name for path in outputs}
