"""Tables in other formats than parquet: the same rows, types by roles, and what is refused."""

import csv
import gzip
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from support import shop
from support.raw_tables import content, raw_table, with_roles, write_raw
from tossctr.common.errors import UserError
from tossctr.config.columns import Columns
from tossctr.datasets.conversion import convert_test_part, convert_train
from tossctr.datasets.draw import Selection, read_labels, sample
from tossctr.datasets.split import Sampling
from tossctr.raw.parts import read_parts
from tossctr.raw.raw_files import locate_raw
from tossctr.raw.reading import RawTable
from tossctr.raw.submission_ids import list_parts

TIMED = with_roles(event_time="times", row_time="when", shared=("events",))
ITEMS = ("007", "7", "NA", "a, b", 'the "best"', "two\nlines", None)
SAMPLING = Sampling(valid_share=0.25, seed=3)


def with_lines(rows: int = 300) -> pa.Table:
    """A table whose texts have commas, quotes, line breaks and leading zeros."""
    table = raw_table(rows)
    country = [None if text == "" else text for text in table["country"].to_pylist()]
    columns = {
        "uid": pa.array([f"{i:05}" for i in range(rows)]),
        "country": pa.array(country),
        "item": pa.array([ITEMS[i % len(ITEMS)] for i in range(rows)]),
        "times": table["events"],
        "when": pa.array(range(10**6, 10**6 + rows)),
        "unused": pa.array(['"\r\n,;\t', "x", None] * (rows // 3)),
    }
    return pa.table({name: table[name] for name in table.schema.names} | columns)


def as_csv(table: pa.Table, path: Path, **options: Any) -> None:
    """Written as Python writes it: with \\r\\n, and quotes where they are needed."""
    encoding = options.pop("encoding", "utf-8")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding=encoding, newline="") as file:  # type: ignore[operator]
        writer = csv.writer(file, **options)
        writer.writerow(table.schema.names)
        for row in table.to_pylist():
            writer.writerow(["" if value is None else value for value in row.values()])


def as_folder(table: pa.Table, path: Path) -> None:
    """Two files in folders, whose names have the country's column and no role here."""
    for i, rows in enumerate((table[:100], table[100:])):
        (path / f"day={i}").mkdir(parents=True)
        as_csv(rows, path / f"day={i}/part.csv")


WAYS: dict[str, tuple[str, Callable[..., None], dict[str, Any]]] = {
    "csv": ("raw.csv", as_csv, {}),
    "csv with a mark": ("RAW.CSV", as_csv, {"encoding": "utf-8-sig", "lineterminator": "\n"}),
    "csv of pyarrow": ("raw.csv", pacsv.write_csv, {}),
    "semicolons": ("raw.csv", as_csv, {"delimiter": ";"}),
    "csv.gz": ("raw.csv.gz", as_csv, {}),
    "tsv": ("raw.tsv", as_csv, {"delimiter": "\t"}),
    "folder": ("in", as_folder, {}),
}


def converted(folder: Path, raw: Path, delimiter: str | None = None) -> dict[str, Any]:
    """The drawn rows and the H5 files of a table, as train and as test table."""
    folder.mkdir()
    files = {"selection": folder / "s.parquet", "parts": folder / "parts.json"}
    sample(raw, "y", 200, SAMPLING, part_rows=1000, **files, delimiter=delimiter)
    paths = [piece.file for piece in read_parts(files["parts"]).parts[0].pieces]
    h5 = {name: folder / f"{name}.h5" for name in ("train", "valid")}
    convert_train(paths, columns=TIMED, **files, **h5)
    listed = folder / "test.json"
    list_parts(raw, TIMED, listed, rows=1000, delimiter=delimiter)
    h5["test"] = folder / "test.h5"
    convert_test_part(paths, listed, 0, TIMED, h5["test"], threads=1, code="")
    drawn = Selection.read(files["selection"], 0, read_parts(files["parts"]).parts[0].draw)
    contents: dict[str, Any] = {name: content(path) for name, path in h5.items()}
    return contents | {
        "drawn": [each.tolist() for each in vars(drawn).values() if each is not None]
    }


@pytest.fixture(scope="module")
def of_parquet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("parquet")
    return converted(folder / "h5", write_raw(folder, with_lines()))


@pytest.mark.parametrize("way", WAYS)
def test_a_table_gives_the_same_rows_in_every_format(
    of_parquet: dict[str, Any], tmp_path: Path, way: str
) -> None:
    name, write, options = WAYS[way]
    write(with_lines(), tmp_path / name, **options)
    delimiter = ";" if way == "semicolons" else None
    assert converted(tmp_path / "h5", tmp_path / name, delimiter) == of_parquet


FEW = Columns(label="y", id="uid", profile=("country",), numeric=("price",))


def opened(raw: Path) -> RawTable:
    table = RawTable(raw, columns=FEW)
    table.check_columns(FEW, FEW.label)
    return table


# Contents of a CSV file with the columns y, uid, price, country, and what is said of it.
GOOD = 'y,uid,price,country,note\n0,a,1.5,"k\nr",\n'
WRONG: list[tuple[str | bytes, str]] = [
    (GOOD + "1,b,2\n", "cannot be read: .*Row #3: Expected 5 columns, got 3: 1,b,2"),
    (GOOD + "1,b,2.5.1,kr,\n", r"column 'price', row 1: .*'2\.5\.1'"),
    (GOOD.encode() + b"1,b,2,S\xe3o,\n", "column 'country', row 1: Invalid UTF8"),
    (GOOD.replace("country", "Stra\xdfe").encode("latin-1"), "cannot be read: 'utf-8'"),
    (GOOD.replace("note", "price"), "column 'price' occurs twice"),
    (GOOD.encode("utf-16"), "cannot be read"),
    ("", "cannot be read: Empty"),
    ("y,uid,price,country\n", "the file has no rows"),
    (GOOD.replace(",", ";"), "there is no column 'country', 'price', 'y'.*raw.delimiter"),
    (gzip.compress(GOOD.encode() * 99, mtime=0)[:-9], "cannot be read: Truncated"),
]


def test_integers_that_pandas_writes_as_floats_are_those_of_parquet(
    tmp_path: Path, of_parquet: dict[str, Any]
) -> None:
    """In one of two files of a folder, since there a value is missing."""
    table = with_lines()
    numbers = pa.array([None if i == 7 else i % 9 for i in range(len(table))])
    decimals = pa.array(np.arange(len(table)) / 8)
    given = {"country": numbers, "item": decimals}
    table = pa.table({name: given.get(name, table[name]) for name in table.schema.names})
    for name, rows in (("a", table[:100]), ("b", table[100:])):
        (tmp_path / "in").mkdir(exist_ok=True)
        frame = rows.to_pandas().astype({"country": float} if name == "a" else {"country": int})
        frame.to_csv(tmp_path / f"in/{name}.csv", index=False)
    of_csv = converted(tmp_path / "csv", tmp_path / "in")
    assert of_csv == converted(tmp_path / "h5", write_raw(tmp_path, table)) != of_parquet


@pytest.mark.parametrize(("written", "said"), WRONG)
def test_a_value_that_cannot_be_read_is_told_by_file_row_and_column(
    tmp_path: Path, written: str | bytes, said: str
) -> None:
    bytes_ = written.encode() if isinstance(written, str) else written
    raw = tmp_path / ("raw.csv.gz" if bytes_[:2] == b"\x1f\x8b" else "raw.csv")
    raw.write_bytes(bytes_)
    with pytest.raises(UserError, match=rf"^{raw}: {said}"):
        list(opened(raw).stream(FEW.features, 1))


def test_unused_columns_may_be_anything_and_missing_numbers_are_written_in_many_ways(
    tmp_path: Path,
) -> None:
    raw = tmp_path / "raw.csv"
    lines = ["y,a,a,,price,country", "True,1,x,,NA,NA", "false,?,,0, 1.5 ,", " TRUE,,,,-inf,null"]
    lines.append("False,,,,true,1.0")
    raw.write_text("\n".join(lines))
    table = opened(raw)
    rows = pa.Table.from_batches([b for _, b in table.stream(FEW.features, 3)])
    assert rows["price"].to_pylist() == [None, 1.5, float("-inf"), 1.0]
    assert rows["country"].to_pylist() == ["NA", None, "null", "1"]
    assert read_labels(table, "y").tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["5", "17"], [5, 17]),
        (["1970-01-01 00:01:00", "1970-01-02"], [60, 86_400]),
        (["1970-01-01T00:00:07Z", "1970-01-01T01:00:00+01:00"], [7, 0]),
        (["5", "1970-01-02"], "column 'when', row 1: .*'1970-01-02'"),
        (["1970-01-02", "5"], "column 'when', row 1: .*'5'"),
        (["", "5"], "column 'when', row 0: .* is missing"),
    ],
)
def test_a_row_s_time_is_a_whole_number_or_in_iso_8601(
    tmp_path: Path, words: list[str], kept: list[int] | str
) -> None:
    table = raw_table(2, times=["1", ""], events=["1", ""], when=words)
    as_csv(table, tmp_path / "raw.csv")
    raw, parts, h5 = (tmp_path / name for name in ("raw.csv", "parts.json", "h5"))
    refused = pytest.raises(UserError, match=kept) if isinstance(kept, str) else nullcontext()
    with refused:
        list_parts(raw, TIMED, parts, rows=9)
        convert_test_part([str(raw)], parts, 0, TIMED, h5, threads=1, code="")
        assert content(h5)["time"][1] == str(kept)


def test_int96_times_keep_their_order(tmp_path: Path) -> None:
    seconds = pa.array([1, 2, 253_402_300_799])  # the last is in the year 9999
    path, times = tmp_path / "raw.parquet", seconds.cast(pa.timestamp("s"))
    pq.write_table(pa.table({"t": times}), path, use_deprecated_int96_timestamps=True)
    read = RawTable(path).times("t").astype("datetime64[s]")
    assert read.astype(np.int64).tolist() == seconds.to_pylist()


def test_a_head_is_the_first_rows_of_any_format(tmp_path: Path) -> None:
    table = with_lines(30).drop_columns("price")  # with NaN
    as_csv(table, tmp_path / "raw.CSV")
    texts = RawTable(tmp_path / "raw.CSV")
    assert not texts.has_types
    assert texts.head(20)["uid"].to_pylist() == table["uid"][:20].to_pylist()
    path = write_raw(tmp_path, table)
    assert RawTable(path).has_types
    assert RawTable(path).head(20).to_pylist() == table[:20].to_pylist()


DEFAULT = {
    "source": "auto",
    "train": "data/raw/train.parquet",
    "test": "data/raw/test.parquet",
    "sample_submission": "none.csv",
    "delimiter": None,
}


def test_a_csv_file_in_the_default_s_place_is_found_and_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/raw").mkdir(parents=True)
    Path("data/raw/train.csv").touch()
    with pytest.raises(UserError, match=rf"missing: data/raw/test.parquet in .*{tmp_path}"):
        locate_raw(DEFAULT)
    Path("data/raw/test.tsv.gz").touch()
    raw = locate_raw(DEFAULT)
    assert (str(raw.train), str(raw.test)) == ("data/raw/train.csv", "data/raw/test.tsv.gz")
    assert not raw.simulated
    Path("data/raw/train.parquet").touch()
    with pytest.raises(UserError, match=r"train.csv and data/raw/train.parquet"):
        locate_raw(DEFAULT)
    assert locate_raw(DEFAULT | {"source": "simulated"}).simulated
    assert str(locate_raw(DEFAULT | {"train": "data/raw/train.csv"}).train) == "data/raw/train.csv"
    for path in Path("data/raw").iterdir():
        path.rename(path.with_name("train.csv.zip"))
    with pytest.raises(UserError, match=r"^data/raw/train.csv.zip: "):
        locate_raw(DEFAULT)


@pytest.mark.workflow
def test_a_submission_from_csv_files_is_that_from_parquet(tmp_path: Path) -> None:
    submission, texts = "results/submission_toy.csv", []
    config = shop.changed("parts.rows", 1000)
    for kind in ("parquet", "csv"):
        folder = tmp_path / kind
        shop.write_inputs(folder)
        if kind == "csv":
            for name, ending in (("log", "csv"), ("new", "csv.gz")):
                path = folder / f"in/{name}.parquet"
                as_csv(pq.read_table(path), path.with_name(f"{name}.{ending}"), delimiter="|")
                path.unlink()
            raw = {"train": "in/log.csv", "test": "in/new.csv.gz", "delimiter": "|"}
            config = shop.changed("table.raw", raw, config)
        shop.snakemake(folder, submission, config=config)
        texts.append((folder / submission).read_text())
    assert texts[0] == texts[1]
    assert "Nothing to be done" in shop.snakemake(folder, submission, config=config)
