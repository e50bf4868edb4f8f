"""Which raw files are taken, what footers tell, and when a file is read again or refused."""

import dataclasses
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from support.raw_tables import COLUMNS, raw_table, with_roles, write_raw
from tossctr.common.errors import UserError
from tossctr.common.files import read_json, write_json
from tossctr.raw import location
from tossctr.raw.location import TableLocation, content_version, object_version
from tossctr.raw.raw_files import RawFiles, locate_raw, protect_real_results
from tossctr.raw.reading import RawTable

TIMED = with_roles(event_time="times", row_time="when")


def files(folder: Path, **given: dict[str, Any]) -> RawFiles:
    paths = [write_raw(folder, raw_table(2, **given[name]), name) for name in ("train", "test")]
    return RawFiles(*map(TableLocation, paths), None)


MOMENT = pa.array([5, 6])
WITHOUT_ZONE, ZONED = (MOMENT.cast(pa.timestamp("s", zone)) for zone in (None, "Asia/Seoul"))


@pytest.mark.parametrize(
    ("train", "test", "refused"),
    [
        ({}, {"price": ["1", "2"]}, "price"),
        ({}, {"item": [[1]] * 2}, "item"),
        ({}, {"item": [7, 8]}, "item"),
        ({}, {"events": [1, 2]}, "events"),
        ({}, {"when": [1.0, 2.0]}, "when"),
        ({"when": WITHOUT_ZONE}, {"when": ZONED}, "when"),
        ({"item": pa.array([1, 2], pa.int8())}, {"item": MOMENT.cast(pa.decimal128(20, 1))}, None),
        ({"events": ["1,2", ""]}, {"events": [[1, 2], []]}, None),
        ({}, {"country": pa.array(["KR", "US"]).dictionary_encode(), "price": pa.nulls(2)}, None),
    ],
)
def test_types_that_cannot_be_used_or_compared_are_refused(
    tmp_path: Path, train: dict[str, Any], test: dict[str, Any], refused: str | None
) -> None:
    given = {"times": ["1", "2"], "when": MOMENT} | train
    files(tmp_path, train=given, test=given).check(TIMED)
    raw = files(tmp_path, train=given, test=given | test)
    said = f"column '{refused}' has type"
    with pytest.raises(UserError, match=said) if refused else nullcontext():
        raw.check(TIMED)


def test_a_file_is_not_both_train_and_test(tmp_path: Path) -> None:
    both = files(tmp_path, train={}, test={})
    with pytest.raises(UserError, match=r"in raw\.train and in raw\.test"):
        dataclasses.replace(both, test=both.train).check(COLUMNS)


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, Any]:
    names = {"train": "a.parquet", "test": "b.parquet", "sample_submission": "c.csv"}
    return {"source": "auto", "delimiter": None} | {
        key: str(tmp_path / name) for key, name in names.items()
    }


@pytest.mark.parametrize("source", ["auto", "files", "simulated"])
@pytest.mark.parametrize("there", [(), ("train",), ("test",), ("train", "test")])
@pytest.mark.parametrize("named", [("train",), ("train", "test")])
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
    files = locate_raw(raw)
    assert files.is_simulated == simulated
    paths = [str(table) for table in (files.train, files.test) if table]
    assert paths == [f"data/simulated/{n}.parquet" if simulated else raw[n] for n in named]
    assert (raw["train"] in files.why_simulated) == (simulated and source == "auto")


def test_a_sample_submission_that_is_there_is_looked_at(raw: dict[str, str]) -> None:
    for source in ("auto", "simulated"):
        assert locate_raw(raw | {"source": source}).sample_submission is None
    sample = Path(raw["sample_submission"])
    for header in ("clicked,ID\n", "uid,\n"):
        sample.write_text(header)
        files = locate_raw(raw)
        assert str(files.sample_submission) == str(sample)
        with pytest.raises(UserError, match="the ID column 'uid'"):
            files.check(COLUMNS)


def test_what_may_be_elsewhere_or_an_empty_folder_is_no_reason_to_simulate(
    raw: dict[str, Any],
) -> None:
    with pytest.raises(UserError, match=r"missing: .*a.parquet"):
        locate_raw(raw | {"test": "s3://shop/in/new.parquet"})
    for name in ("train", "test"):
        Path(raw[name]).symlink_to("/unmounted")
    with pytest.raises(UserError, match=r"a.parquet: cannot be read"):
        locate_raw(raw).check(COLUMNS)
    Path(raw["train"]).unlink()
    Path(raw["train"]).mkdir()
    with pytest.raises(UserError, match=r"a.parquet: no file"):
        locate_raw(raw)
    assert locate_raw(raw | {"source": "simulated"}).is_simulated


def test_an_untouched_file_is_not_read_again_unless_just_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    raw = write_raw(tmp_path, raw_table())
    version = content_version(raw)
    assert not [*location.VERSION_CACHE.glob("*")]
    monkeypatch.setattr(location, "MIN_AGE_NS", -(10**12))
    assert content_version(raw) == version
    (memory,) = location.VERSION_CACHE.glob("*")
    write_json(memory, read_json(memory) | {"version": "as remembered"})
    assert content_version(raw) == "as remembered"
    os.utime(raw)
    assert content_version(raw) == version


def test_google_s_etag_counts_uploads_and_is_no_version() -> None:
    first, second = ({"ETag": etag, "md5Hash": b"m"} for etag in (b"1", b"2"))
    assert object_version(first, 9) == object_version(second, 9)
    assert object_version(first, 9) != object_version(first | {"md5Hash": b"n"}, 9)


def test_a_file_that_is_written_again_while_it_is_read_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, raw_table(rows=30))
    times = os.stat(raw)
    batches = RawTable(raw).stream(["y"], 10)
    next(batches)
    # With the same size, inode and time.
    write_raw(tmp_path, raw_table(rows=30))
    os.utime(raw, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(UserError, match="was replaced while it was being read"):
        list(batches)


REAL = RawFiles(TableLocation("train"), TableLocation("test"), None)
STAND_IN = dataclasses.replace(REAL, why_simulated="no train and no test")


@pytest.mark.parametrize(
    "file", ["submission_toy.json", "toy/len5/training.json", "full/boosting/metrics.json"]
)
def test_one_real_result_is_enough_and_is_named(tmp_path: Path, file: str) -> None:
    for name in ("submission_full.json", "toy/len9/training.json", "toy/constant/metrics.json"):
        write_json(tmp_path / name, {"simulated_data": True})
    # These say nothing.
    write_json(tmp_path / "full/len9/training.json", {"settings": {}})
    (tmp_path / "full/len9/metrics.json").write_text("{")
    protect_real_results(STAND_IN, tmp_path)
    write_json(tmp_path / file, {"simulated_data": False})
    protect_real_results(REAL, tmp_path)
    with pytest.raises(UserError, match=f"^no train and no test, .*{file}"):
        protect_real_results(STAND_IN, tmp_path)
