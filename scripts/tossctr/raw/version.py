"""Versions of raw files: what changes with their content, and not with a touch.

A local file's version is a digest of all its bytes. It is remembered for as long as the file system
says that nobody wrote to the file, so only a new or a touched file is read.
"""

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import xxhash

from ..common.errors import UserError
from ..common.files import digest_of, read_json, write_json

logger = logging.getLogger(__name__)

# Relative to the working folder, where Snakemake keeps what it knows of files.
REMEMBERED = Path(".snakemake/raw_versions")
# Files from this size on take a while to read, so the log says it.
_LARGE_BYTES = 1 << 30
# File systems count time in steps: two writes within one step leave the same time.
SETTLED_NS = 2_000_000_000
# Metadata that change with an object's content, the best first: Google's two digests, S3's, a time.
_DIGESTS = ("md5Hash", "crc32c", "ETag", "Last-Modified")


def content_version(path: Path) -> str:
    """The XXH3 digest (128 bits) of a file's content, remembered until the file is touched.

    Untouched means the same path and `file_state`.
    """
    memory = REMEMBERED / f"{digest_of(os.path.realpath(path))[:16]}.json"
    state = file_state(path)
    with suppress(OSError, UserError):
        remembered = read_json(memory)
        if remembered.get("state") == state:
            return str(remembered["version"])
    if state["size"] >= _LARGE_BYTES:
        logger.info("%s: new or touched, reading its %s bytes", path, f"{state['size']:,}")
    started = time.time_ns()
    with open(path, "rb", buffering=0) as file:
        version = hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
    is_settled = max(state["mtime_ns"], state["ctime_ns"]) + SETTLED_NS < started
    if is_settled and state == file_state(path):
        with suppress(OSError):
            write_json(memory, {"path": str(path), "state": state, "version": version})
    return version


def file_state(path: Path) -> dict[str, int]:
    """A file's size, inode and times, among them that of its last change (ctime).

    No program can set that one back.
    """
    status = os.stat(path)
    times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    return {"size": status.st_size, **times, "inode": status.st_ino}


def object_version(metadata: Mapping[str, bytes], size: int) -> str:
    """An object's version from its size and the digest that its store keeps of it."""
    digests = ([name, metadata[name].decode()] for name in _DIGESTS if metadata.get(name))
    return digest_of([size, *next(digests, [])])
