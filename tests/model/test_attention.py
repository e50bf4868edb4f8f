"""Attention against PyTorch's own; the call of flash attention, with a stand-in for its kernel."""

import inspect
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from feseq.model import attention
from feseq.model.attention import SelfAttention
from feseq.model.padded import PaddedFESeq
from support.networks import CONFIG, make_batch, make_model


def plain_varlen(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scale: float, causal: bool
) -> Tensor:
    """Softmax attention within each of the sequences that `bounds` cut [T, H, D] into."""
    attended = []
    for start, stop in zip(bounds.tolist(), bounds.tolist()[1:]):
        q, k, v = (part[start:stop].transpose(0, 1) for part in (query, key, value))
        score = q @ k.transpose(1, 2) * scale
        if causal:
            later = torch.ones(stop - start, stop - start, dtype=torch.bool).triu(1)
            score = score.masked_fill(later, -torch.inf)
        attended.append((score.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(attended)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each call; the kernel's own conditions hold, and loops stand in for it."""
    kernel = attention.flash_attention()
    if kernel is None:
        pytest.skip("PyTorch before 2.11")
    signature, calls = inspect.signature(kernel), []

    def stand_in(*args: Any, **kwargs: Any) -> Tensor:
        given = signature.bind(*args, **kwargs).arguments
        calls.append(given)
        query, bounds = given["query"], given["cu_seq_q"]
        assert query.shape[2] % 8 == 0
        assert all(given[name].stride(-1) == 1 for name in ("query", "key", "value"))
        assert bounds is given["cu_seq_k"]
        assert bounds.dtype == torch.int32
        assert bounds[-1] == len(query)
        assert given["max_q"] == given["max_k"] == int(bounds.diff().max())
        causal = {(-1, 0): True, (-1, -1): False}[given["window_size"]]
        parts = query, given["key"], given["value"]
        return plain_varlen(*parts, bounds, given["scale"], causal)

    monkeypatch.setattr(attention, "flash_attention", lambda: stand_in)
    monkeypatch.setattr(attention, "takes_packed", lambda qkv: True)
    return calls


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("embedding_dim", [4, 16])
def test_packed_attention_equals_that_of_padded_rows(
    calls: list[dict[str, Any]], embedding_dim: int, causal: bool
) -> None:
    config = replace(CONFIG, causal=causal, embedding_dim=embedding_dim)
    model, batch = make_model(config), make_batch([3, 0, 6])
    logits, expected = model(batch), PaddedFESeq(model).logits(batch)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    assert len(calls) == config.transformer_layers
    got, want = (
        torch.autograd.grad(logit_B.sum(), [*model.parameters()], materialize_grads=True)
        for logit_B in (logits, expected)
    )
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_pytorch(causal: bool) -> None:
    torch.manual_seed(0)
    ours, layout = SelfAttention(12, 3, causal).double(), make_batch([3, 0, 5, 5]).layout
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    # The same four, in the same order.
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x_ND = torch.randn(int(layout.start_B[-1]), 12, dtype=torch.float64)
    rows = x_ND.split(layout.start_B.diff().tolist())
    expected = []
    for row_LD in rows:
        later = torch.ones(len(row_LD), len(row_LD), dtype=torch.bool).triu(1) if causal else None
        expected.append(theirs(row_LD, row_LD, row_LD, attn_mask=later)[0])
    torch.testing.assert_close(ours(x_ND, layout), torch.cat(expected))
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    padded = torch.stack([F.pad(row_LD, (0, 0, longest - len(row_LD), 0)) for row_LD in rows])
    is_position = torch.arange(longest) >= longest - lengths[:, None]
    found = ours.padded(padded, is_position)
    torch.testing.assert_close(found[is_position], torch.cat(expected))


def test_packed_attention_is_for_half_precision_on_new_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = {"is_cuda": True, "device": "cuda", "shape": (7, 3, 2, 24), "dtype": torch.bfloat16}
    for change, capability in (
        ({}, (8, 0)),
        ({}, (9, 0)),
        ({}, (7, 5)),
        ({"is_cuda": False}, (9, 0)),
        ({"dtype": torch.float32}, (9, 0)),
        ({"shape": (7, 3, 2, 264)}, (9, 0)),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)  # noqa: B023
        is_sound = not change and capability >= (8, 0) and attention.flash_attention() is not None
        found: Any = SimpleNamespace(**sound | change)
        assert attention.takes_packed(found) == is_sound
