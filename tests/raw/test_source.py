"""Which raw files are taken, and what footers and headers tell before anything is converted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.raw.listing import TableLocation
from feseq.raw.source import RawFiles, locate_raw
from support.raw_tables import COLUMNS, raw_table, with_roles, write_raw

TIMED = with_roles(event_time="times", row_time="when")


def files(folder: Path, train: dict[str, Any], test: dict[str, Any]) -> RawFiles:
    paths = [
        write_raw(folder, raw_table(2, **given), name)
        for name, given in (("train", train), ("test", test))
    ]
    return RawFiles(*map(TableLocation, paths), None)


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


# Any raw.source with any files


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, str]:
    names = {"train": "a.parquet", "test": "b.parquet", "sample_submission": "c.csv"}
    return {"source": "auto"} | {key: str(tmp_path / name) for key, name in names.items()}


def touch(raw: dict[str, str], *there: str) -> None:
    for key in there:
        Path(raw[key]).touch()


@pytest.mark.parametrize("source", ["auto", "files"])
def test_files_that_are_there_are_used(raw: dict[str, str], source: str) -> None:
    touch(raw, "train", "test")
    found = locate_raw(raw | {"source": source})
    assert [str(found.train), str(found.test)] == [raw["train"], raw["test"]]
    assert not found.simulated
    assert found.sample_submission is None
    Path(raw["sample_submission"]).write_text("clicked,ID\n")
    found = locate_raw(raw | {"source": source})
    assert str(found.sample_submission) == raw["sample_submission"]
    with pytest.raises(UserError, match="header 'clicked,ID' has no column 'uid'"):
        found.check(COLUMNS)


@pytest.mark.parametrize("source", ["auto", "files"])
def test_a_link_to_nowhere_or_a_folder_is_no_reason_to_simulate(
    raw: dict[str, str], source: str, tmp_path: Path
) -> None:
    for name in ("train", "test"):
        Path(raw[name]).symlink_to(tmp_path / "unmounted" / name)
    with pytest.raises(UserError, match=r"is a link to .*unmounted/train, and not a file"):
        locate_raw(raw | {"source": source})
    Path(raw["train"]).unlink()
    Path(raw["train"]).mkdir()
    with pytest.raises(UserError, match="is a folder without a file that holds data"):
        locate_raw(raw | {"source": source})
    assert locate_raw(raw | {"source": "simulated"}).simulated


@pytest.mark.parametrize(
    ("source", "there"),
    [("auto", ()), ("simulated", ()), ("simulated", ("train",)), ("simulated", ("test",)),
     ("simulated", ("train", "test"))],
)  # fmt: skip
def test_the_stand_in_is_used_and_said_loudly(
    raw: dict[str, str], source: str, there: tuple[str, ...]
) -> None:
    touch(raw, *there)
    found = locate_raw(raw | {"source": source})
    assert found.simulated
    assert "SIMULATED DATA" in found.warning
    assert {str(found.train), str(found.test)}.isdisjoint(raw.values())
    if source == "auto":
        assert raw["train"] in found.warning


@pytest.mark.parametrize(
    ("source", "there"),
    [("files", ()), ("files", ("train",)), ("files", ("test",)), ("auto", ("train",)),
     ("auto", ("test",))],
)  # fmt: skip
def test_a_missing_file_is_refused_by_name(
    raw: dict[str, str], source: str, there: tuple[str, ...]
) -> None:
    touch(raw, *there)
    with pytest.raises(UserError) as refusal:
        locate_raw(raw | {"source": source})
    _, after = str(refusal.value).split("are missing: ")
    listed = after.split(" (")[0].split(";")[0]
    missing = [raw[key] for key in ("train", "test") if key not in there]
    assert listed == ", ".join(missing)
    assert ("never mixed" in after) == bool(there)
