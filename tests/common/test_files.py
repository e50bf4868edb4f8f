"""Files appear complete or not at all, and nobody's leftovers stay."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from feseq.common.errors import UserError
from feseq.common.files import fingerprint, folder_beside, read_json, write_json, written_beside


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table.h5"
    target.write_text("old")

    def fail() -> None:
        with written_beside(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["table.h5"]
    assert target.read_text() == "old"


def test_a_folder_a_device_or_a_uri_is_no_file_to_write(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for target in (
        *tmp_path.iterdir(),
        Path("s3://bucket/folder"),
        Path("/dev/fd/1"),
        Path("/dev/new"),
    ):
        for beside in (written_beside, folder_beside):
            with pytest.raises(UserError, match=target.name), beside(target):
                pass
    assert not Path("s3:").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    (tmp_path / f".t.h5.{host}.{dead.pid}.part").write_text("half")
    (tmp_path / f".t.h5.{host}.{dead.pid}.work").mkdir()
    (tmp_path / f".t.h5.{host}.{dead.pid}.work" / "bucket").write_text("half")
    living = tmp_path / f".t.h5.{host}.{os.getppid()}.part"
    elsewhere = tmp_path / f".t.h5.other-{host}.{dead.pid}.part"
    for path in (living, elsewhere):
        path.write_text("being written")
    with folder_beside(tmp_path / "t.h5"), written_beside(tmp_path / "t.h5") as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == {tmp_path / "t.h5", living, elsewhere}


def test_a_fingerprint_follows_content_and_not_time(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    path.write_bytes(b"a" * 100_000 + b"footer 1")
    before = fingerprint(path)
    os.utime(path, (0, 0))
    assert fingerprint(path) == before
    path.write_bytes(b"a" * 100_000 + b"footer 2")
    assert fingerprint(path) != before
    path.write_bytes(b"a" * 100_001 + b"footer 1")
    assert fingerprint(path) != before


def test_json_comes_back_and_what_is_damaged_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "a.json", {"auc": 0.5, "name": "성별", "none": float("nan")}
    write_json(path, values)
    assert str(read_json(path)) == str(values)
    for given in ({"parse": lambda found: found["parts"]}, {"keys": ["auc", "parts"]}):
        with pytest.raises(UserError, match=r"a.json: .*parts.json") as refusal:
            read_json(path, kind="parts.json", **given)
        assert "delete" not in str(refusal.value)
    whole = path.read_bytes()
    edited = (whole.replace(b"0.5", b"0.6"), whole.replace(b'"none"', b'"None"'), b'{"auc": 0.5}')
    for content in (b"", b"[1]", whole[:-5], whole.replace("성".encode(), b"\xff"), *edited):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a.json: damaged .*delete it"):
            read_json(path)
