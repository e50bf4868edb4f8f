"""Files of tensors and plain values."""

import math
from pathlib import Path

import pytest
import torch

from feseq.common import tensors

SHARED = torch.arange(6.0).reshape(2, 3)
CONTENT = {
    "table": SHARED,
    "again": {"table": SHARED, "transposed": torch.arange(6).reshape(2, 3).T},
    "numbers": [math.inf, 0.1, -3, True, None, "日本"],
    # An optimizer's parameters have numbers for names.
    "state": {0: {"step": torch.tensor(5.0), "sum": torch.zeros(0, 4)}, 1: {}},
    "random": torch.get_rng_state(),
}


def same(found: object, expected: object) -> bool:
    if isinstance(expected, torch.Tensor):
        return isinstance(found, torch.Tensor) and torch.equal(found, expected)
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[k], expected[k]) for k in expected)
    return found == expected and type(found) is type(expected)


def test_nested_values_come_back_as_they_were_and_others_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    tensors.save(CONTENT, path)
    assert same(tensors.load(path, torch.from_numpy), CONTENT)
    (tmp_path / "ordinary").touch()
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    whole = path.read_bytes()
    tensors.save(CONTENT, path)
    assert path.read_bytes() == whole


def test_a_shared_tensor_is_stored_once_and_shared_again(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    table = torch.zeros(10**5)
    tensors.save({"history": table, "target": table}, path)
    assert path.stat().st_size < 1.1 * table.nbytes
    found = tensors.load(path)
    assert found["history"] is found["target"]


@pytest.mark.parametrize("place", [3, 20, 300, -500, -1])
def test_a_damaged_file_is_refused(tmp_path: Path, place: int) -> None:
    path = tmp_path / "state.safetensors"
    tensors.save(CONTENT, path)
    whole = bytearray(path.read_bytes())
    for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place:][1:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"checksum|header|JSON|UTF"):
            tensors.load(path)


def test_what_cannot_be_opened_is_not_called_missing(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        tensors.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        tensors.load(tmp_path / "none")
