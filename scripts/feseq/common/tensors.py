"""Files of tensors and plain values, in the safetensors format: no pickle, a checksum over all."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import first_line
from .files import folder_beside

# uint8 tensors stand last, by name: the checksum ends a file, where its fingerprint looks.
_CHECKSUM = "sha256"


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write nested dicts and lists of tensors and plain values, complete even after a crash.

    A tensor that occurs twice, such as a shared table, is written once.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_described(content, "", tensors, {}))
    checksum = torch.frombuffer(bytearray(_checksum(text, tensors)), dtype=torch.uint8)
    with folder_beside(path) as folder:
        file = folder / path.name
        file.touch()
        mode = file.stat().st_mode
        try:
            save_file(tensors | {_CHECKSUM: checksum}, file, {"content": text})
        except SafetensorError as error:  # a full disk
            raise OSError(first_line(error)) from None
        # safetensors lets nobody but the owner read it.
        file.chmod(mode)
        with open(file, "rb") as written:
            # The rename must not reach the disk before the bytes.
            os.fsync(written.fileno())
        os.replace(file, path)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote; tuples come back as lists.

    Raises ValueError for another format or damaged bytes, OSError for an unreadable file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            # Copies: what `get_tensor` gives is mapped to the file, which may be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get("content", "")
    except SafetensorError as error:
        raise ValueError(first_line(error)) from None
    checksum = tensors.pop(_CHECKSUM, torch.empty(0))
    if _bytes(checksum) != _checksum(text, tensors):
        raise ValueError("wrong checksum")
    return _restored(json.loads(text), tensors)


def _described(
    value: Any, name: str, tensors: dict[str, Tensor], names: dict[tuple[Any, ...], str]
) -> Any:
    """`value` as JSON has it, its tensors moved to `tensors`; `names` of those met before.

    Dicts are lists of pairs, since JSON's keys are strings and an optimizer's are numbers.
    """
    if isinstance(value, Tensor):
        place = (value.data_ptr(), value.dtype, value.shape, value.stride())
        if names.setdefault(place, name) == name:
            tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": names[place]}
    if isinstance(value, Mapping):
        prefix = f"{name}/" if name else ""
        pairs = value.items()
        return {"dict": [[k, _described(v, f"{prefix}{k}", tensors, names)] for k, v in pairs]}
    if isinstance(value, list | tuple):
        return [_described(v, f"{name}/{i}", tensors, names) for i, v in enumerate(value)]
    return value


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The opposite of `_described`."""
    if isinstance(value, list):
        return [_restored(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _restored(part, tensors) for key, part in value["dict"]}


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> bytes:
    """SHA-256 of the plain values and of all tensors with their names, types and shapes."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.digest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data
