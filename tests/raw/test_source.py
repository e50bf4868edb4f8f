"""Which raw files are taken, and what footers and headers tell before anything is converted."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.raw.location import Location, TableLocation
from feseq.raw.reading import RawTable
from feseq.raw.source import RawFiles, label_name, locate_raw
from support.raw_tables import COLUMNS, raw_table, read, with_roles, write_raw

TIMED = with_roles(event_time="times", row_time="when")


def files(folder: Path, train: dict[str, Any], test: dict[str, Any]) -> RawFiles:
    paths = [
        write_raw(folder, raw_table(2, **given), name)
        for name, given in (("train", train), ("test", test))
    ]
    return RawFiles(*map(TableLocation, paths), None)


MOMENT = pa.array([5, 6])
WITHOUT_ZONE, ZONED = (MOMENT.cast(pa.timestamp("s", zone)) for zone in (None, "Asia/Seoul"))
# Columns of the train table, and of the test table, and the one that is refused, if any.
TYPES: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {"price": ["1", "2"]}, "price"),
    ({}, {"price": [[1.0]] * 2}, "price"),
    ({}, {"item": [[1]] * 2}, "item"),
    ({}, {"item": [7, 8]}, "item"),
    ({}, {"country": [True, False]}, "country"),
    ({}, {"events": [1, 2]}, "events"),
    ({}, {"when": WITHOUT_ZONE}, "when"),
    ({}, {"when": [1.0, 2.0]}, "when"),
    ({"when": WITHOUT_ZONE}, {"when": ZONED}, "when"),
    ({"when": ZONED}, {"when": WITHOUT_ZONE}, "when"),
    ({"item": pa.array([1, 2], pa.int8())}, {"item": MOMENT.cast(pa.decimal128(20, 1))}, None),
    ({"item": [1, 2]}, {"item": [1.0, None]}, None),
    ({"events": ["1,2", ""]}, {"events": [[1, 2], []]}, None),
    ({}, {"country": pa.array(["KR", "US"]).dictionary_encode(), "price": pa.nulls(2)}, None),
    ({}, {"country": pa.nulls(2)}, None),
]


@pytest.mark.parametrize(("train", "test", "refused"), TYPES)
def test_types_that_cannot_be_used_or_compared_are_refused(
    tmp_path: Path, train: dict[str, Any], test: dict[str, Any], refused: str | None
) -> None:
    given = {"times": ["1", "2"], "when": MOMENT} | train
    files(tmp_path, given, given).check(TIMED)
    raw = files(tmp_path, given, given | test)
    if refused is None:
        raw.check(TIMED)
        return
    with pytest.raises(UserError, match=f"column '{refused}' has type"):
        raw.check(TIMED)


@pytest.mark.parametrize("name", ["it's new.csv", "a.tsv", "b.CSV.gz"])
def test_a_table_as_text_is_refused_with_the_command_that_converts_it(
    tmp_path: Path, name: str
) -> None:
    table = raw_table(50, item=[f"{i % 7}" for i in range(50)], y=[True, False] * 25)
    text = table.to_pandas().to_csv(sep="\t" if name.endswith("tsv") else ",", index=False)
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(UserError) as refusal:
        RawTable(tmp_path / name)
    command = str(refusal.value).splitlines()[-1].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True)
    raw = RawTable(tmp_path / f"{name.split('.')[0]}.parquet")
    raw.check_columns(COLUMNS, COLUMNS.label)
    # Text tells no empty value from a missing one.
    found, expected = (t.select(["uid", "age", "y", "events"]) for t in (read(raw), table))
    events = [text or None for text in expected["events"].to_pylist()]
    assert found.to_pydict() == expected.to_pydict() | {"events": events}


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, Any]:
    names = {"train": "a.parquet", "test": "b.parquet", "sample_submission": "c.csv"}
    return {"source": "auto"} | {key: str(tmp_path / name) for key, name in names.items()}


BOTH = ("train", "test")


@pytest.mark.parametrize("source", ["auto", "files", "simulated"])
@pytest.mark.parametrize("there", [(), ("train",), ("test",), BOTH])
@pytest.mark.parametrize("named", [("train",), BOTH])
def test_the_files_are_used_or_the_stand_in_or_what_is_missing_is_named(
    raw: dict[str, Any], source: str, there: tuple[str, ...], named: tuple[str, ...]
) -> None:
    for name in there:
        Path(raw[name]).touch()
    raw |= {"source": source, "test": raw["test"] if "test" in named else None}
    missing = [raw[name] for name in named if name not in there]
    simulated = source == "simulated" or (source == "auto" and len(missing) == len(named))
    if missing and not simulated:
        with pytest.raises(UserError, match=rf"missing: {re.escape(', '.join(missing))}[ ;]"):
            locate_raw(raw)
        return
    found = locate_raw(raw)
    tables = found.train, *([found.test] if found.test else [])
    assert found.simulated == simulated
    assert len(tables) == len(named)
    for name, table in zip(named, tables):
        assert (str(table) == raw[name]) != simulated
    assert "SIMULATED DATA" in found.warning
    assert (raw["train"] in found.warning) == (simulated and source == "auto")


def test_a_sample_submission_that_is_there_is_looked_at(raw: dict[str, str]) -> None:
    for source in ("auto", "simulated"):
        assert locate_raw(raw | {"source": source}).sample_submission is None
    Path(raw["sample_submission"]).write_text("clicked,ID\n")
    found = locate_raw(raw)
    assert str(found.sample_submission) == raw["sample_submission"]
    with pytest.raises(UserError, match="'uid'"):
        found.check(COLUMNS)
    for header in (b"uid,klick\xe9\n", b"uid,\n"):
        Path(raw["sample_submission"]).write_bytes(header)
        with pytest.raises(UserError, match="UTF-8"):
            found.check(COLUMNS)


@pytest.mark.parametrize("source", ["auto", "files"])
def test_a_link_to_nowhere_or_an_empty_folder_is_no_reason_to_simulate(
    raw: dict[str, str], source: str, tmp_path: Path
) -> None:
    for name in BOTH:
        Path(raw[name]).symlink_to(tmp_path / "unmounted" / name)
    with pytest.raises(UserError, match=r"a.parquet: cannot be read"):
        locate_raw(raw | {"source": source}).check(COLUMNS)
    Path(raw["train"]).unlink()
    Path(raw["train"]).mkdir()
    with pytest.raises(UserError, match=r"a.parquet: no file"):
        locate_raw(raw | {"source": source})
    assert locate_raw(raw | {"source": "simulated"}).simulated


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.parquet"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null")):
        for opened in (RawTable, lambda path: label_name(Location(path), "uid", "y")):
            with pytest.raises(UserError, match=path.name):
                opened(path)
