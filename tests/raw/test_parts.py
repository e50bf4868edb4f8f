"""Parts of a raw table: where it is cut, what changes a part, and its rows read by themselves."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import shop
from support.raw_tables import COLUMNS, raw_table, write_raw
from tossctr.common.errors import UserError
from tossctr.raw.parts import Listing, Part, cut, read_parts
from tossctr.raw.reading import RawTable
from tossctr.raw.submission_ids import list_parts


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ([[4]], [[(0, 4)]]),
        ([[2], [1], [1], [5, 4]], [[(0, 2), (1, 1), (2, 1)], [(3, 5)], [(3, 4)]]),
        ([[2], [9]], [[(0, 2)], [(1, 4)], [(1, 5)]]),
        ([[1, 11, 1]], [[(0, 4)], [(0, 4)], [(0, 5)]]),
        ([[1, 1, 1, 1, 1, 1]], [[(0, 3)], [(0, 3)]]),
        ([[], [3], [0], [1]], [[(1, 3), (3, 1)]]),
        ([[3, 0, 6, 0]], [[(0, 3)], [(0, 6)]]),
        ([[2], [2], [2]], [[(0, 2), (1, 2)], [(2, 2)]]),
    ],
)
def test_files_are_grouped_and_large_ones_cut_between_row_groups(
    files: list[list[int]], parts: list[list[tuple[int, int]]]
) -> None:
    pieces = [[(i, stop - start) for i, start, stop in part] for part in cut(files, 4)]
    assert pieces == parts


def test_a_csv_file_is_one_part_beside_small_ones() -> None:
    parts = cut([[19], [2], [2], [9]], 4, whole={0})
    assert parts == [[(0, 0, 19)], [(1, 0, 2), (2, 0, 2)], [(3, 0, 4)], [(3, 4, 9)]]


def test_a_file_a_little_longer_or_shorter_moves_no_bounds_behind_it() -> None:
    for rows in (100, 99, 101, 130):
        files = [[100]] * 7 + [[rows]] + [[100]] * 32
        assert [len(part) for part in cut(files, 1000)] == [10] * 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `in` of six files in two folders key=value, which is the working folder's."""
    monkeypatch.chdir(tmp_path)
    table = raw_table(60).drop_columns("y")
    table = table.append_column("code", table["country"].dictionary_encode())
    for i in range(6):
        place = tmp_path / f"in/shop={'7' if i < 3 else 'a'}"
        place.mkdir(parents=True, exist_ok=True)
        write_raw(place, table[10 * i : 10 * i + 10], f"part-{i}", row_group_size=5)
    return tmp_path


def listed(rows: int, written: Any = "in") -> Listing:
    list_parts(written, COLUMNS, Path("parts.json"), rows=rows)
    return read_parts(Path("parts.json"))


def files_of(part: Part) -> list[str]:
    return [piece.file for piece in part.pieces]


def test_the_parts_give_all_rows_once_in_their_order_with_the_table_s_types(folder: Path) -> None:
    # Also where a file outside of the others' folders comes first.
    Path("first.parquet").hardlink_to("in/shop=a/part-5.parquet")
    for written, rows in product(("in", ["first.parquet", "in/shop=7"]), (1, 2, 5, 10, 30, 1000)):
        names = ["uid", "events", "code", *(["shop"] if written == "in" else [])]
        whole = pa.Table.from_batches([batch for _, batch in RawTable(written).stream(names, 7)])
        assert written != "in" or str(whole.schema.field("shop").type) == "string"
        listing = listed(rows, written)
        assert sum(part.rows for part in listing.parts) == listing.rows == len(whole)
        batches = []
        for part in listing.parts:
            table = RawTable(files_of(part), part)
            assert (table.rows, table.first_row) == (part.rows, part.pieces[0].start)
            first_rows, read = zip(*table.stream(names, 3))
            lengths = [*map(len, read)]
            assert [*first_rows] == list(np.cumsum([table.first_row, *lengths])[:-1])
            assert 0 < min(lengths) <= max(lengths) <= 3
            batches += read
        assert pa.Table.from_batches(batches).equals(whole)


def test_a_replaced_file_changes_its_part_alone(folder: Path) -> None:
    before = listed(20)
    path = folder / "in/shop=7/part-2.parquet"
    pq.write_table(pq.read_table(path, partitioning=None)[:9], path)
    after = listed(20)
    is_same = [a == b for a, b in zip(before.parts, after.parts, strict=True)]
    assert is_same == [True, False, True]
    with pytest.raises(UserError, match=r"part-2.parquet: was replaced"):
        RawTable(files_of(before.parts[1]), before.parts[1])
    # And so does a folder's name.
    (folder / "in/shop=7").rename(folder / "in/shop=8")
    is_same = [a.version == b.version for a, b in zip(after.parts, listed(20).parts, strict=True)]
    assert is_same == [False, False, True]


def test_an_id_twice_in_different_parts_is_refused_with_count_and_example(folder: Path) -> None:
    path = folder / "in/shop=a/part-5.parquet"
    first = pq.read_table(folder / "in/shop=7/part-0.parquet", partitioning=None)
    write_raw(path.parent, first[:2], path.stem)
    example = first["uid"][0].as_py()
    with pytest.raises(UserError, match=rf"^in: .*'uid': 2 IDs .*{re.escape(repr(example))}"):
        listed(10)
    assert not Path("parts.json").exists()


def made(folder: Path, config: dict[str, Any], target: str) -> list[str]:
    """The rules that ran for a target, once a job."""
    output = shop.snakemake(folder, target, config=config)
    return sorted(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", output))


def in_files(folder: Path, split: str, name: str, rows: int) -> tuple[pa.Table, dict[str, Any]]:
    """A raw table of the shop, and a config where it lies in a folder of files of so many rows."""
    shop.write_inputs(folder)
    table = pq.read_table(folder / f"in/{name}.parquet")
    (folder / "in" / name).mkdir()
    for i in range(len(table) // rows):
        write_raw(folder / "in" / name, table[rows * i : rows * i + rows], f"{i}")
    config = shop.changed("parts.rows", rows)
    return table, shop.changed(f"table.raw.{split}", f"in/{name}", config)


@pytest.mark.workflow
def test_a_replaced_file_runs_its_part_again_and_no_other(tmp_path: Path) -> None:
    submission = "results/submission_toy.csv"
    table, config = in_files(tmp_path, "test", "new", 20)
    ran = made(tmp_path, config, submission)
    assert (ran.count("convert_test"), ran.count("predict")) == (3, 3)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/**/part00?.*")}
    first = (tmp_path / submission).read_text().splitlines()
    write_raw(tmp_path / "in/new", table[50:70], "2")
    once = ["convert_test", "describe", "list_parts", "predict", "submit"]
    assert made(tmp_path, config, submission) == once
    changed = {path.name for path in before if before[path] != path.stat().st_mtime_ns}
    assert {name[:7] for name in changed} == {"part002"}
    second = (tmp_path / submission).read_text().splitlines()
    assert (first[:41], len(second)) == (second[:41], 61)
    (tmp_path / "in/new/2.parquet").unlink()
    assert made(tmp_path, config, submission) == ["describe", "list_parts", "submit"]
    assert (tmp_path / submission).read_text().splitlines() == first[:41]


@pytest.mark.workflow
def test_a_replaced_train_file_is_drawn_and_converted_again_and_no_other(tmp_path: Path) -> None:
    target = "data/h5/full/feature_map.json"
    table, config = in_files(tmp_path, "train", "log", 100)
    assert made(tmp_path, config, target) == [*["convert_train"] * 4, "fit_feature_map", "sample"]
    h5 = sorted(tmp_path.glob("data/h5/full/*/part*.h5"))
    assert len(h5) == 8
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in h5}
    # One row less, and other labels.
    write_raw(tmp_path / "in/log", table[:99], "2")
    assert made(tmp_path, config, target) == ["convert_train", "fit_feature_map", "sample"]
    changed = {path.name for path in h5 if path.stat().st_mtime_ns != before[path][0]}
    assert changed == {"part002.h5"}
    # What was lost comes back as it was.
    h5[0].unlink()
    (tmp_path / target).unlink()
    assert made(tmp_path, config, target) == ["convert_train", "fit_feature_map"]
    assert h5[0].read_bytes() == before[h5[0]][1]
