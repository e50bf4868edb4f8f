"""Atomic file writes, JSON files with a digest, fingerprints, and locks on folders."""

import errno
import fcntl
import glob
import hashlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from .errors import UserError, first_line

logger = logging.getLogger(__name__)

# Type of a parameter that names a file to write, in functions that scripts run.
Output = Annotated[Path, "output"]
_TAIL_BYTES = 1 << 16
# No such file, or no permission: the file itself may be intact.
_MACHINE_ERRORS = (errno.ENOENT, errno.EACCES, errno.EPERM)
# Errors of a file system without locks, such as Lustre mounted without `flock`.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path; move its file to `target` on success, and delete it on an error.

    The temporary file is on the file system of `target`, so the move is atomic. Raises UserError if
    `target` is a folder or a URI.
    """
    with scratch_dir(target, "part") as folder:
        yield folder / Path(target).name
        os.replace(folder / Path(target).name, target)


@contextmanager
def scratch_dir(target: Path, ending: str = "work") -> Iterator[Path]:
    """Yield an empty folder beside the file `target`, and remove the folder afterwards.

    The folder's name ends in the process ID and `ending`, so processes never share a folder.
    Folders that killed processes left behind are removed. Raises UserError if `target` is a folder
    or a URI.
    """
    target = Path(target)
    if target.is_dir():
        raise UserError(f"{target}: is a folder; give a file name")
    if ":/" in str(target):
        raise UserError(f"{target}: must be a local path; write a local file and copy it later")
    target.parent.mkdir(parents=True, exist_ok=True)
    start = f".{target.name}.{socket.gethostname()}."
    for leftover in target.parent.glob(f"{glob.escape(start)}*.{ending}"):
        process = leftover.name.rsplit(".", 2)[1]
        if process == str(os.getpid()) or not (process.isdigit() and _is_alive(int(process))):
            # Another process may remove the folder at the same time.
            shutil.rmtree(leftover, ignore_errors=True)
    folder = target.with_name(f"{start}{os.getpid()}.{ending}")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(target: Path, values: Mapping[str, Any]) -> None:
    """Write `values` as JSON, atomically, with a digest by which `read_json` detects changes."""
    with atomic_write(target) as temporary:
        signed = {**values, "digest": digest_of(values)}
        text = json.dumps(signed, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def digest_of(values: Any) -> str:
    """A digest of JSON-serializable values: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def read_json(
    path: Path,
    parse: Callable[[Any], Any] = lambda content: content,
    *,
    kind: str = "JSON file",
    keys: Sequence[str] = (),
) -> Any:
    """Read a JSON file that `write_json` wrote, and return `parse(content)`.

    Raises UserError if the file is damaged, was edited, lacks one of the `keys`, or cannot be
    parsed. The message calls the file a `kind`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("digest", None) != digest_of(content):
            raise ValueError("it was edited, or another version wrote it")
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged, or not a {kind} of this workflow ({first_line(error)}); give "
            f"another file. If the workflow made this file, delete it and run the same command "
            f"again. If Snakemake then has nothing to do, also delete the final output"
        ) from None
    try:
        if missing := [key for key in keys if key not in content]:
            raise KeyError(missing)
        return parse(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: not a {kind} of this version of the workflow; delete it and run again"
        ) from None


@contextmanager
def reporting_damage(path: Path) -> Iterator[None]:
    """A context for reading the file `path`: errors become UserErrors that call the file damaged.

    Errors because the file is missing, or may not be read, stay OSErrors.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # damaged bytes can make HDF5 and Arrow raise anything
        if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
            raise
        raise UserError(
            f"{path}: not a complete file of this workflow ({first_line(error)}); give another "
            f"file. If the workflow made this file, delete it and run the same command again to "
            f"rebuild it"
        ) from None


def fingerprint(path: Path) -> str:
    """A digest of a file's size and last 64 KiB, which is fast even for large files.

    New content changes these bytes: a parquet file ends with statistics, a model with a checksum.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        file.seek(max(0, size - _TAIL_BYTES))
        return hashlib.sha256(f"{size} ".encode() + file.read()).hexdigest()[:16]


@contextmanager
def folder_lock(folder: Path, activity: str) -> Iterator[None]:
    """A context that locks a folder, so that no other process uses the state saved in it.

    Raises UserError if another process has locked the folder. `activity`, such as "is training",
    says in the message what that process does. The lock also ends when its process dies. If the
    file system has no locks, only a warning is logged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner, job = folder / "owner", os.environ.get("SLURM_JOB_ID")
    with open(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = owner.read_text() if owner.exists() else "another process"
            raise UserError(
                f"{folder}: {who} {activity}; wait until it ends. If the snakemake that started "
                f"it has died, `kill` the process or `scancel` the Slurm job, and run the same "
                f"command again"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logger.warning(
                "%s: the file system has no locks (%s), so a second process can use this folder: "
                "run one Snakemake at a time",
                folder,
                error.strerror,
            )
        process = f"process {os.getpid()} on {socket.gethostname()}"
        owner.write_text(f"{process}, Slurm job {job}" if job else process)
        yield


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
