"""Files of torch.save, written whole and read with care: checksums compared, no pickle run."""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from .errors import first_line
from .files import written_beside


def save(content: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values; under its name the file is complete, even after a crash."""
    # By way of a Python file, whose errors, such as a full disk, say what they are.
    with written_beside(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # PyTorch then hides the file's error behind one of its own.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
        # The rename must not reach the disk before the bytes.
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote. Raises ValueError for other or damaged bytes, OSError if unreadable.

    torch.load itself compares no checksums. Members that are packed could unfold to any size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type for member in archive.infolist()):
                raise ValueError("its members are packed")
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"wrong checksum of {damaged}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError):
        raise
    except Exception as error:  # damaged bytes can make both raise anything
        raise ValueError(first_line(error)) from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    return content
