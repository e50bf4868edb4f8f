"""Files of torch.save, written whole and read with care: digest compared, no pickle run."""

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
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
            torch.save(content | {"sha256": _digest(content)}, file)
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

    PyTorch itself compares no checksums, and believes in any size: members of the archive that are
    packed, or tensors that show one number many times, could take all memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type for member in archive.infolist()):
                raise ValueError("its members are packed")
        with open(path, "rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, ValueError):
        raise
    except Exception as error:  # damaged bytes can make both raise anything
        raise ValueError(first_line(error)) from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    if sum(tensor.nbytes for tensor in _tensors(content)) > path.stat().st_size:
        raise ValueError("it holds fewer bytes than it declares")
    if content.pop("sha256", None) != _digest(content):
        raise ValueError("wrong checksum")
    return content


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of all values, with their names, types and shapes."""
    digest = hashlib.sha256()

    def take(value: object) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        elif isinstance(value, Mapping):
            digest.update(f"{{{len(value)}".encode())
            for key, part in value.items():
                digest.update(repr(key).encode())
                take(part)
        elif isinstance(value, list | tuple):
            digest.update(f"[{len(value)}".encode())
            for part in value:
                take(part)
        else:
            digest.update(repr(value).encode())

    take(content)
    return digest.hexdigest()
