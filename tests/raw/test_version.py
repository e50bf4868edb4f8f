"""A raw file's version: another one whenever its content changes, and not when it is touched."""

import json
import os
from pathlib import Path

import pytest

from feseq.common.errors import UserError
from feseq.common.files import read_json, write_json
from feseq.raw import version
from feseq.raw.location import Location
from feseq.raw.reading import RawTable
from feseq.raw.version import content_version, object_version
from support.raw_tables import raw_table, write_raw


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a folder of Snakemake, which counts as settled."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.setattr(version, "_SETTLED_NS", -(10**12))
    path = tmp_path / "raw"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def remembered() -> list[Path]:
    return sorted(version.REMEMBERED.glob("*"))


def swap(path: Path) -> None:
    """Swap two bytes far from the end, in place, and set the old time."""
    times = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(1000)
        two = file.read(2)
        file.seek(1000)
        file.write(two[::-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_version_follows_the_content_and_not_time_or_place(large: Path) -> None:
    before = content_version(large)
    size, time = large.stat().st_size, large.stat().st_mtime_ns
    swap(large)
    assert (large.stat().st_size, large.stat().st_mtime_ns) == (size, time)
    assert content_version(large) != before
    swap(large)
    os.utime(large, (1, 1))
    assert content_version(large) == before
    copy = large.with_name("copy")
    copy.write_bytes(large.read_bytes())
    assert content_version(copy) == before
    os.replace(copy, large)
    assert content_version(large) == before


def test_an_untouched_file_is_not_read_again_unless_just_written(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(version, "_SETTLED_NS", 10**12)
        content_version(large)
    assert remembered() == []
    content_version(large)
    (memory,) = remembered()
    write_json(memory, read_json(memory) | {"version": "as remembered"})
    assert content_version(large) == "as remembered"
    os.utime(large)
    assert content_version(large) != "as remembered"


@pytest.mark.parametrize("damage", ["{", '{"version": 3}', None])
def test_a_damaged_memory_is_no_memory(large: Path, damage: str | None) -> None:
    before = content_version(large)
    (memory,) = remembered()
    memory.write_text(damage or memory.read_text().replace(before, before[::-1]))
    assert content_version(large) == before
    assert json.loads(memory.read_text())["version"] == before


def test_what_a_store_says_tells_objects_of_one_size_apart() -> None:
    one, other = ({"ETag": etag, "Content-Length": b"9"} for etag in (b'"a"', b'"b"'))
    assert object_version(one, 9) == object_version(dict(one), 9) != object_version(other, 9)
    assert object_version(one, 9) != object_version(one, 8)
    # Of Google's, the ETag counts uploads too.
    of_google = [{"ETag": etag, "md5Hash": b"m"} for etag in (b"1", b"2")]
    assert object_version(of_google[0], 9) == object_version(of_google[1], 9)


def test_a_file_that_changes_within_while_it_is_read_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, raw_table(rows=30))
    file = RawTable(raw)
    batches = file.stream(["y"], 10)
    next(batches)
    swap(raw)
    with pytest.raises(UserError, match="was replaced while it was being read"):
        list(batches)
    assert file.version != Location(raw).version
