"""Files appear under their final name only when they are complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` on success, else remove it.

    The temporary name is in the same directory, so the rename is atomic, and holds the process
    number, so two writers never share it.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Yield an empty working folder beside `target` and remove it afterwards.

    One of the same name was left by a killed process whose number this one got.
    """
    target = Path(target)
    folder = target.with_name(f".{target.name}.{os.getpid()}.work")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
