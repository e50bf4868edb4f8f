"""Which files a raw table has, in which order, and what they must have in common."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.raw_tables import COLUMNS, raw_table, read, with_columns, write_raw
from tossctr.common.errors import UserError
from tossctr.common.parquet import SIMULATED_MARK
from tossctr.raw.location import Location, TableLocation
from tossctr.raw.reading import RawTable

TABLE = raw_table(rows=60)
# By file of `folder`, the rows of `TABLE`.
ROWS_OF: dict[str, np.ndarray] = {}
for name in {*TABLE["country"].to_pylist()}:
    inside = np.flatnonzero([country == name for country in TABLE["country"].to_pylist()])
    key = "__HIVE_DEFAULT_PARTITION__" if name is None else name
    ROWS_OF |= {
        f"in/country={key}/part-1.parquet": inside[:2],
        f"in/country={key}/part-2.parquet": inside[2:],
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Spark wrote `TABLE` to `in`, by country."""
    monkeypatch.chdir(tmp_path)
    for file, rows in ROWS_OF.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(TABLE.drop_columns(["country"]).take(rows), file)
    Path("in/_SUCCESS").touch()
    Path("in/country=KR/.part-2.parquet.crc").write_bytes(b"crc")
    Path("in/_temporary/0").mkdir(parents=True)
    Path("in/_temporary/0/part-9.parquet").write_bytes(b"half")
    return tmp_path


def files_of(written: Any) -> list[str]:
    return list(map(str, TableLocation(written).files))


def test_files_are_found_in_the_order_of_paths_and_what_is_hidden_is_no_data(folder: Path) -> None:
    pair = [f"in/country=KR/part-{i}.parquet" for i in (1, 2)]
    everything = files_of("in")
    assert everything == sorted(ROWS_OF)
    for same in ("in/", "in/*", "i[n]/country=*/part-*.parquet", "**/part-*.parquet", "in/**"):
        assert files_of(same) == everything
    with pytest.raises(UserError, match="no file with data"):
        files_of("in/*/0/part-*.parquet")
    assert files_of("in/c*KR") == pair
    assert files_of(str(folder / "in/*KR")) == [str(folder / path) for path in pair]
    assert files_of([pair[1], "in/*KR/*-1.*"]) == pair[::-1]


def test_folders_name_columns_unless_the_files_do(folder: Path) -> None:
    """Where files have such a column, its values count."""
    path = "x=1/in/day=02/country=K%2FR/hour=__HIVE_DEFAULT_PARTITION__/a=b.parquet"
    assert Location(path).partition_keys == {"day": "02", "country": "K/R", "hour": None}
    for path in files_of("in"):
        file = pq.read_table(path, partitioning=None)
        pq.write_table(file.append_column("country", pa.array(["its own"] * len(file))), path)
    table = RawTable("in")
    assert table.schema_arrow.names.count("country") == 1
    assert set(read(table)["country"].to_pylist()) == {"its own"}
    table.check_columns(COLUMNS, COLUMNS.label)


def test_a_folder_reads_like_one_file_with_the_same_rows(folder: Path) -> None:
    order = np.concatenate([ROWS_OF[path] for path in files_of("in")])
    expected = TABLE.take(order).to_pandas()
    for written in ("in", files_of("in")):
        file = RawTable(written)
        assert (file.rows, file.is_simulated) == (60, False)
        file.check_columns(COLUMNS, COLUMNS.label)
        assert read(file).to_pandas()[expected.columns].equals(expected)
        of_folders = pa.Table.from_batches([batch for _, batch in file.stream(["country"], 7)])
        assert of_folders.to_pandas().equals(expected[["country"]])


def test_empty_files_columns_without_values_and_wider_numbers_go_with_the_others(
    folder: Path,
) -> None:
    first, second = files_of("in")[:2]
    pq.write_table(pq.ParquetFile(first).read()[:0], "in/country=KR/part-0.parquet")
    rows = pq.ParquetFile(second).read()
    bare = with_columns(rows, age=rows["age"].cast("int32"), events=pa.nulls(len(rows)))
    pq.write_table(bare, second)
    file = RawTable("in")
    file.check_columns(COLUMNS, COLUMNS.label)
    rows = pa.Table.from_batches([batch for _, batch in file.stream(["events", "age"], 7)])
    assert (len(rows), [*map(str, rows.schema.types)]) == (60, ["string", "int32"])


def test_columns_that_are_not_in_use_may_differ_from_file_to_file(folder: Path) -> None:
    for i, file in enumerate(files_of("in")):
        rows = pq.ParquetFile(file).read()
        rows = rows.append_column("note", pa.array([[f"{i}"] if i else i] * len(rows)))
        pq.write_table(rows.append_column(f"only {i}", rows["age"]), file)
    table = RawTable("in")
    table.check_columns(COLUMNS, COLUMNS.label)
    with pytest.raises(UserError, match=r"part.*column 'note' conflicts with"):
        next(table.stream(["note"], 9))


@pytest.mark.parametrize(("keys", "kind"), [("7 12", "int64"), ("007 12", "string")])
def test_folders_give_whole_numbers_where_they_are_written_as_such(
    tmp_path: Path, keys: str, kind: str
) -> None:
    for key in keys.split():
        (tmp_path / f"code={key}").mkdir()
        write_raw(tmp_path / f"code={key}", pa.table({"n": [1]}))
    ((_, first), _) = RawTable(tmp_path).stream(["code"], 10)
    code = first.column("code")
    assert (str(code.type), str(code[0])) == (kind, min(keys.split()))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda table: with_columns(table, age=table["age"].cast("string")), "age"),
        (lambda table: table.drop_columns(["price"]), "'price'"),
        (lambda table: table.append_column("price", table["price"]), "'price' occurs twice"),
        (lambda table: table.replace_schema_metadata(SIMULATED_MARK), "simulated"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_files_that_do_not_belong_together_are_refused(
    change: Callable[[pa.Table], pa.Table], named: str
) -> None:
    path = "in/country=US/part-2.parquet"
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    with pytest.raises(UserError, match=rf"part-2.parquet.*{named}"):
        RawTable("in").check_columns(COLUMNS, COLUMNS.label)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("empty", "empty"),
        ("in/*.parquet", r"in/\*.parquet"),
        (["in", "in/country=KR/part-2.parquet"], "part-2.parquet"),
        ("odd", "b.parquet.*No such file"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_names_no_table_is_refused(written: Any, named: str) -> None:
    Path("empty").mkdir()
    shutil.copytree("in/country=KR", "odd")
    Path("odd/b.parquet").symlink_to("/nowhere")
    with pytest.raises(UserError, match=named):
        RawTable(written)


def test_a_table_changes_with_its_files_and_their_order_and_not_with_a_touch(folder: Path) -> None:
    path = Path("in/country=KR/part-2.parquet")
    before = TableLocation("in").version
    path.touch()
    assert TableLocation("in").version == TableLocation(files_of("in")).version == before
    assert TableLocation(files_of("in")[::-1]).version != before
    path.rename("in/country=KR/part-3.parquet")
    assert TableLocation("in").version == before
    Path("in/country=KR").rename("in/country=KS")
    assert TableLocation("in").version != before
