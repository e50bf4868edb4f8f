"""Tables in other formats than parquet: the same rows, types by roles, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.raw_tables import content, raw_table, with_roles, write_raw
from tossctr.common.errors import UserError
from tossctr.config.columns import Columns
from tossctr.datasets.conversion import convert_test_part, convert_train
from tossctr.datasets.draw import read_labels, sample
from tossctr.datasets.split import Sampling
from tossctr.raw.raw_files import locate_raw
from tossctr.raw.reading import RawTable
from tossctr.raw.submission_ids import list_parts

TIMED = with_roles(event_time="times", row_time="when", shared=("events",))
ITEMS = ("007", "7", "NA", "a, b", 'the "best"', "two\nlines", None)


def with_lines(rows: int = 300) -> pa.Table:
    """A table whose texts have commas, quotes, line breaks and leading zeros."""
    table = raw_table(rows)
    columns = {
        "uid": [f"{i:05}" for i in range(rows)],
        "country": [text or None for text in table["country"].to_pylist()],
        "item": [ITEMS[i % len(ITEMS)] for i in range(rows)],
        "times": table["events"],
        "when": range(10**6, 10**6 + rows),
        "unused": ['"\r\n,;\t', "x", None] * (rows // 3),
    }
    return pa.table({name: table[name] for name in table.schema.names} | columns)


def as_csv(table: pa.Table, path: Path, **options: Any) -> None:
    """With quotes where they are needed; a missing integer makes no floats of the others."""
    table.to_pandas(types_mapper=pd.ArrowDtype).to_csv(path, index=False, **options)


def converted(folder: Path, raw: Path, delimiter: str | None = None) -> dict[str, Any]:
    """The H5 files of a table, as train and as test table."""
    folder.mkdir()
    files = {"selection": folder / "s.parquet", "parts": folder / "parts.json"}
    sampling = Sampling(valid_share=0.25, seed=3)
    sample(raw, "y", 200, sampling, part_rows=1000, **files, delimiter=delimiter)
    h5 = {name: folder / f"{name}.h5" for name in ("train", "valid")}
    convert_train([str(raw)], columns=TIMED, **files, **h5)
    listed = folder / "test.json"
    list_parts(raw, TIMED, listed, rows=1000, delimiter=delimiter)
    h5["test"] = folder / "test.h5"
    convert_test_part([str(raw)], listed, 0, TIMED, h5["test"], threads=1, code="")
    return {name: content(path) for name, path in h5.items()}


@pytest.fixture(scope="module")
def of_parquet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("parquet")
    return converted(folder / "h5", write_raw(folder, with_lines()))


@pytest.mark.parametrize(
    ("name", "delimiter", "options"),
    [
        ("RAW.CSV", None, {"encoding": "utf-8-sig", "lineterminator": "\r\n"}),
        ("raw.csv", ";", {"sep": ";"}),
        ("raw.tsv.gz", None, {"sep": "\t"}),
    ],
)
def test_a_table_gives_the_same_rows_in_every_format(
    of_parquet: dict[str, Any],
    tmp_path: Path,
    name: str,
    delimiter: str | None,
    options: dict[str, Any],
) -> None:
    as_csv(with_lines(), tmp_path / name, **options)
    assert converted(tmp_path / "h5", tmp_path / name, delimiter) == of_parquet


FEW = Columns(label="y", id="uid", profile=("country",), numeric=("price",))


def opened(raw: Path) -> RawTable:
    table = RawTable(raw, columns=FEW)
    table.check_columns(FEW, FEW.label)
    return table


# A CSV file's content.
GOOD = 'y,uid,price,country,note\n0,a,1.5,"k\nr",\n'


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (GOOD + "1,b,2\n", "cannot be read: .*Row #3: Expected 5 columns, got 3: 1,b,2"),
        (GOOD + "1,b,2.5.1,kr,\n", r"column 'price', data row 2 .1-based.: .*'2\.5\.1'"),
        (
            GOOD.encode() + b"1,b,2,S\xe3o,\n",
            "column 'country', data row 2 .1-based.: Invalid UTF8",
        ),
        (GOOD.replace("country", "Stra\xdfe").encode("latin-1"), "cannot be read: 'utf-8'"),
        (GOOD.replace("note", "price"), "column 'price' occurs twice"),
        ("", "cannot be read: Empty"),
        ("y,uid,price,country\n", "there are no rows"),
        (GOOD.replace(",", ";"), "there is no column 'country', 'price', 'y'.*raw.delimiter"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_by_file_row_and_column(
    tmp_path: Path, written: str | bytes, said: str
) -> None:
    raw = tmp_path / "raw.csv"
    raw.write_bytes(written.encode() if isinstance(written, str) else written)
    with pytest.raises(UserError, match=rf"^{raw}: {said}"):
        list(opened(raw).stream(FEW.features, 1))


def test_unused_columns_may_be_anything_and_missing_numbers_are_written_in_many_ways(
    tmp_path: Path,
) -> None:
    raw = tmp_path / "raw.csv"
    lines = ["y,a,a,,price,country", "True,1,x,,NA,NA", "false,?,,0, 1.5 ,", " TRUE,,,,-inf,null"]
    # A whole number is written as pandas does it where another value is missing.
    lines += ["False,,,,true,1.0", "False,,,,0,1.50"]
    raw.write_text("\n".join(lines))
    table = opened(raw)
    rows = pa.Table.from_batches([b for _, b in table.stream(FEW.features, 3)])
    assert rows["price"].to_pylist() == [None, 1.5, float("-inf"), 1.0, 0.0]
    assert rows["country"].to_pylist() == ["NA", None, "null", "1", "1.50"]
    assert read_labels(table, "y").tolist() == [1, 0, 1, 0, 0]


def times_of(words: list[str], folder: Path) -> str:
    """The times of a CSV file's rows, from its H5 file."""
    raw, parts, h5 = (folder / name for name in ("raw.csv", "parts.json", "h5"))
    as_csv(raw_table(2, times=["1", ""], events=["1", ""], when=words), raw)
    list_parts(raw, TIMED, parts, rows=9)
    convert_test_part([str(raw)], parts, 0, TIMED, h5, threads=1, code="")
    return content(h5)["time"][1]


def test_a_row_s_time_is_a_whole_number_or_in_iso_8601(tmp_path: Path) -> None:
    assert times_of(["5", "17"], tmp_path) == "[5, 17]"
    assert times_of(["1970-01-01 00:01:00", "1970-01-02"], tmp_path) == "[60, 86400]"
    assert times_of(["1970-01-01T00:00:07Z", "1970-01-01T01:00:00+01:00"], tmp_path) == "[7, 0]"
    with pytest.raises(UserError, match=r"column 'when', data row 2 .1-based.: .*'1970-01-02'"):
        times_of(["5", "1970-01-02"], tmp_path)
    with pytest.raises(UserError, match=r"column 'when', data row 1 .1-based.: .* is missing"):
        times_of(["", "5"], tmp_path)


def test_int96_times_keep_their_order(tmp_path: Path) -> None:
    seconds = pa.array([1, 2, 253_402_300_799])  # the last is in the year 9999
    path, times = tmp_path / "raw.parquet", seconds.cast(pa.timestamp("s"))
    pq.write_table(pa.table({"t": times}), path, use_deprecated_int96_timestamps=True)
    read = RawTable(path).times("t").astype("datetime64[s]")
    assert read.astype(np.int64).tolist() == seconds.to_pylist()


def test_a_csv_file_in_the_default_s_place_is_found_and_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train, test = "data/raw/train.csv", "data/raw/test.tsv.gz"
    default = {name: f"data/raw/{name}.parquet" for name in ("train", "test")}
    default |= {"source": "auto", "sample_submission": None, "delimiter": None}
    Path("data/raw").mkdir(parents=True)
    Path(train).touch()
    with pytest.raises(UserError, match=rf"missing: data/raw/test.parquet in .*{tmp_path}"):
        locate_raw(default)
    Path(test).touch()
    raw = locate_raw(default)
    assert (str(raw.train), str(raw.test), raw.is_simulated) == (train, test, False)
    Path("data/raw/train.parquet").touch()
    with pytest.raises(UserError, match=r"train.csv and data/raw/train.parquet"):
        locate_raw(default)
    assert str(locate_raw(default | {"train": train}).train) == train
    for path in Path("data/raw").iterdir():
        path.rename("data/raw/train.csv.zip")
    with pytest.raises(UserError, match=r"^data/raw/train.csv.zip: "):
        locate_raw(default)
