"""Versions of raw files: what changes with their content, and not with a touch.

A local file's version is a digest of all its bytes. It is remembered for as long as the file system
says that nobody wrote to the file, so only a new or a touched file is read. So are the rows of a
file that does not say how many it has.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import xxhash

from ..common.errors import UserError
from ..common.files import read_json, write_json

logger = logging.getLogger(__name__)

# Relative to the working folder, where Snakemake keeps what it knows of files.
REMEMBERED = Path(".snakemake/raw_versions")
# What this process remembers if there is no such folder.
_remembered: dict[Path, dict[str, object]] = {}
# Files from this size on take a while to read, so the log says it.
_LARGE_BYTES = 1 << 30
# File systems count time in steps: two writes within one step leave the same time.
SETTLED_NS = 2_000_000_000
# Metadata that change with an object's content, the best first: Google's two digests, S3's, a time.
_DIGESTS = ("md5Hash", "crc32c", "ETag", "Last-Modified")


def content_version(path: Path) -> str:
    """The XXH3 digest (128 bits) of a file's content, remembered until the file is touched.

    Untouched means the same path, size, inode and times, among them the time of the last change
    (ctime), which no program can set back. Without a folder `.snakemake` the process remembers.
    """
    memory = REMEMBERED / f"{text_digest(os.path.realpath(path))[:16]}.json"
    with open(path, "rb", buffering=0) as file:
        before = _state(file.fileno())
        remembered = _recall(memory)
        if remembered.get("state") == before:
            return str(remembered["version"])
        if before["size"] >= _LARGE_BYTES:
            logger.info("%s: new or touched, reading its %s bytes", path, f"{before['size']:,}")
        started = time.time_ns()
        version = str(hashlib.file_digest(file, xxhash.xxh3_128).hexdigest())
        is_settled = max(before["mtime_ns"], before["ctime_ns"]) + SETTLED_NS < started
        if is_settled and before == _state(file.fileno()):
            _remember(memory, {"path": str(path), "state": before, "version": version})
    return version


def remembered_rows(version: str, how: str, count: Callable[[], list[int]]) -> list[int]:
    """The rows of each group of a file of this version, counted once.

    `how` says in which way it is read.
    """
    memory = REMEMBERED / f"rows_{text_digest(f'{version} {how}')}.json"
    rows = _recall(memory).get("rows")
    if not isinstance(rows, list):
        rows = count()
        _remember(memory, {"rows": rows})
    return rows


def object_version(metadata: Mapping[str, bytes], size: int) -> str:
    """An object's version from its size and the digest that its store keeps of it."""
    digests = (f"{name} {metadata[name].decode()}" for name in _DIGESTS if metadata.get(name))
    return text_digest(f"{size} {next(digests, '')}")


def text_digest(text: str) -> str:
    """A digest of a text, of the length of versions."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _state(file: int) -> dict[str, int]:
    status = os.fstat(file)
    times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    return {"size": status.st_size, **times, "inode": status.st_ino}


def _recall(memory: Path) -> dict[str, object]:
    if not REMEMBERED.parent.is_dir():
        return _remembered.get(memory, {})
    try:
        return read_json(memory)
    except (OSError, UserError):
        return {}


def _remember(memory: Path, entry: dict[str, object]) -> None:
    if not REMEMBERED.parent.is_dir():
        _remembered[memory] = entry
        return
    try:
        write_json(memory, entry)
    except OSError as error:
        logger.info("%s: not written (%s); the file is read again", memory, error)
