"""Files of any kind appear complete or not at all, and come back as they were; memory."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tossctr.common import tensors
from tossctr.common.errors import UserError
from tossctr.common.files import atomic_write, fingerprint, read_json, scratch_dir, write_json
from tossctr.common.machine import machine_memory


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table.h5"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["table.h5"]
    assert target.read_text() == "old"


def test_a_folder_or_a_uri_is_no_file_to_write(tmp_path: Path) -> None:
    for target in (tmp_path, Path("s3://bucket/folder")):
        with pytest.raises(UserError, match=target.name), atomic_write(target):
            pass
    assert not Path("s3:").exists()


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    for ending in ("part", "work"):
        left = tmp_path / f".t.h5.{host}.{dead.pid}.{ending}"
        left.mkdir()
        (left / "t.h5").write_text("half")
    living = tmp_path / f".t.h5.{host}.{os.getppid()}.part"
    elsewhere = tmp_path / f".t.h5.other-{host}.{dead.pid}.part"
    for path in (living, elsewhere):
        path.write_text("being written")
    with scratch_dir(tmp_path / "t.h5"), atomic_write(tmp_path / "t.h5") as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == {tmp_path / "t.h5", living, elsewhere}


def test_a_fingerprint_follows_content_and_not_time(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    path.write_bytes(b"a" * 100_000 + b"footer 1")
    before = fingerprint(path)
    os.utime(path, (0, 0))
    assert fingerprint(path) == before
    for content in (b"a" * 100_000 + b"footer 2", b"a" * 100_001 + b"footer 1"):
        path.write_bytes(content)
        assert fingerprint(path) != before


def test_json_comes_back_and_what_is_damaged_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "a.json", {"auc": 0.5, "name": "성별", "none": float("nan")}
    write_json(path, values)
    assert str(read_json(path)) == str(values)
    for given in ({"parse": lambda content: content["parts"]}, {"keys": ["auc", "parts"]}):
        with pytest.raises(UserError, match=r"a.json: .*parts.json"):
            read_json(path, kind="parts.json", **given)
    whole = path.read_bytes()
    for content in (b"[1]", whole[:-5], whole.replace(b"0.5", b"0.6"), b'{"auc": 0.5}'):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a.json: damaged, .*delete it"):
            read_json(path)


SHARED = torch.arange(60_000.0).reshape(2, -1)
CONTENT = {
    "table": SHARED,
    "again": {"table": SHARED, "transposed": torch.arange(6).reshape(2, 3).T},
    "numbers": [math.inf, 0.1, -3, True, None, "日本"],
    # An optimizer's parameters have numbers for names.
    "state": {0: {"step": torch.tensor(5.0), "sum": torch.zeros(0, 4)}, 1: {}},
    "random": torch.get_rng_state(),
}


def plain(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.tolist()
    return {key: plain(value[key]) for key in value} if isinstance(value, dict) else value


def test_nested_values_come_back_as_they_were_and_others_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    tensors.save(CONTENT, path)
    loaded = tensors.load(path, torch.from_numpy)
    assert repr(plain(loaded)) == repr(plain(CONTENT))
    # A shared tensor is stored once.
    assert loaded["table"] is loaded["again"]["table"]
    assert path.stat().st_size < 1.1 * SHARED.nbytes
    (tmp_path / "ordinary").touch()
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    whole = path.read_bytes()
    tensors.save(CONTENT, path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("0::/slurm/job_7", "slurm/memory.max"),
        ("4:cpu,memory:/slurm/job_7", "memory/slurm/job_7/memory.limit_in_bytes"),
    ],
)
def test_a_control_group_s_limit_counts_as_the_machine_s_memory(
    tmp_path: Path, group: str, file: str
) -> None:
    assert machine_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path, text in {"proc/self/cgroup": group, f"sys/fs/cgroup/{file}": "5000\n"}.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert machine_memory(tmp_path) == 5000
