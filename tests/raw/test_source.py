"""What footers and headers of the raw files tell before anything is converted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.raw.location import Location
from feseq.raw.source import RawFiles
from support.raw_tables import COLUMNS, raw_table, with_roles, write_raw

TIMED = with_roles(event_time="times", row_time="when")


def files(folder: Path, train: dict[str, Any], test: dict[str, Any]) -> RawFiles:
    paths = [
        write_raw(folder, raw_table(2, **given), name)
        for name, given in (("train", train), ("test", test))
    ]
    return RawFiles(*map(Location, paths), None)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"price": ["1", "2"]}, r"test.parquet: column 'price' has type string, cannot be numeric"),
        ({"events": [1, 2]}, r"test.parquet: column 'events' has type int64, cannot be a sequence"),
        (
            {"item": pa.array([7, 8])},
            r"column 'item' has type string in .*train.parquet and int64 in .*test.parquet",
        ),
        ({"country": [True, False]}, r"'country' has type string in .* and bool in"),
    ],
)
def test_types_of_both_files_are_compared(tmp_path: Path, test: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        files(tmp_path, {}, test).check(COLUMNS)


def test_a_time_in_another_unit_is_refused(tmp_path: Path) -> None:
    times = {"times": ["1", "2"], "when": pa.array([5, 6])}
    moments = times | {"when": pa.array([5, 6]).cast(pa.timestamp("s"))}
    files(tmp_path, times, times).check(TIMED)
    with pytest.raises(UserError, match=r"'when' has type int64 in .* and timestamp\[ms\]"):
        files(tmp_path, times, moments).check(TIMED)


def test_types_that_read_alike_pass(tmp_path: Path) -> None:
    train = {"item": pa.array([1, 2], pa.int8()), "events": ["1,2", ""]}
    test = {"item": pa.array([1.0, None]), "events": pa.array([[1, 2], []])}
    test |= {"country": pa.array(["KR", "US"]).dictionary_encode(), "price": pa.nulls(2)}
    files(tmp_path, train, test).check(COLUMNS)
    files(tmp_path, train, test | {"country": pa.nulls(2)}).check(COLUMNS)


def test_a_column_that_only_the_test_file_lacks_is_named(tmp_path: Path) -> None:
    raw = files(tmp_path, {}, {})
    write_raw(tmp_path, raw_table(2).drop_columns(["item"]), "test")
    with pytest.raises(UserError, match=r"test.parquet: 1 of 6 columns are missing: 'item'"):
        raw.check(COLUMNS)
