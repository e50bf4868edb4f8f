"""Files of nested tensors and plain values: safetensors with a checksum, without pickle.

Tensors may be PyTorch's or NumPy's; this module does not import PyTorch.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import first_line
from .files import atomic_write

# safetensors stores uint8 last, so the checksum is at the file's end, which `fingerprint` reads.
_CHECKSUM = "sha256"


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write nested dicts and lists of tensors and plain values, atomically even in a power cut.

    A tensor that occurs twice, such as a shared embedding table, is written once.
    """
    tensors: dict[str, np.ndarray] = {}
    text = json.dumps(_described(content, "", tensors, {}))
    checksum = np.frombuffer(_checksum(text, tensors), np.uint8)
    with atomic_write(path) as file:
        file.touch()
        mode = file.stat().st_mode
        try:
            save_file(tensors | {_CHECKSUM: checksum}, file, {"content": text})
        except SafetensorError as error:  # a full disk
            raise OSError(first_line(error)) from None
        # safetensors sets permissions for the owner only.
        file.chmod(mode)
        with open(file, "rb") as written:
            # The rename must not reach the disk before the bytes.
            os.fsync(written.fileno())


def load(path: Path, convert: Callable[[np.ndarray], Any] = lambda array: array) -> dict[str, Any]:
    """Read a file that `save` wrote, with `convert(array)` in place of each tensor.

    Tuples come back as lists. Raises ValueError for another format or damaged bytes, and OSError
    for an unreadable file.
    """
    tensors, text = _read(path)
    checksum = tensors.pop(_CHECKSUM, np.empty(0, np.uint8))
    if checksum.tobytes() != _checksum(text, tensors):
        raise ValueError("wrong checksum")
    return _restored(json.loads(text), {name: convert(array) for name, array in tensors.items()})


def peek(path: Path, name: str) -> Any:
    """Read the plain value with the key `name` from a file that `save` wrote, without the tensors.

    Raises ValueError for another format, KeyError for an unknown key.
    """
    return _restored(dict(json.loads(_read(path, tensors=False)[1])["dict"])[name], {})


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, np.ndarray], str]:
    """The tensors (none if `tensors` is False), and the plain values as JSON text."""
    # safetensors reports an unreadable file as a missing one; `open` does not.
    open(path, "rb").close()
    try:
        with safe_open(path, framework="np") as file:
            names = file.keys() if tensors else ()
            text = (file.metadata() or {}).get("content", "")
            return {name: file.get_tensor(name) for name in names}, text
    except SafetensorError as error:
        raise ValueError(first_line(error)) from None


def _described(
    value: Any, name: str, tensors: dict[str, np.ndarray], names: dict[tuple[Any, ...], str]
) -> Any:
    """`value` as JSON, with its tensors moved to `tensors`; `names` maps known tensors to names.

    Dicts become lists of pairs, since JSON keys are strings and an optimizer's keys are numbers.
    """
    if isinstance(value, np.ndarray) or hasattr(value, "data_ptr"):
        is_array = isinstance(value, np.ndarray)
        # The address of the values in memory; tensors that share values share the address.
        start = value.ctypes.data if is_array else value.data_ptr()
        key = start, value.dtype, value.shape, value.strides if is_array else value.stride()
        if names.setdefault(key, name) == name:
            array = value if is_array else value.detach().cpu().numpy()
            tensors[name] = np.ascontiguousarray(array).reshape(array.shape)
        return {"tensor": names[key]}
    if isinstance(value, Mapping):
        prefix = f"{name}/" if name else ""
        pairs = value.items()
        return {"dict": [[k, _described(v, f"{prefix}{k}", tensors, names)] for k, v in pairs]}
    if isinstance(value, list | tuple):
        return [_described(v, f"{name}/{i}", tensors, names) for i, v in enumerate(value)]
    return value


def _restored(value: Any, tensors: Mapping[str, Any]) -> Any:
    """The inverse of `_described`."""
    if isinstance(value, list):
        return [_restored(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _restored(item, tensors) for key, item in value["dict"]}


def _checksum(text: str, tensors: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 of the plain values and of all tensors with their names, types and shapes."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.digest()
