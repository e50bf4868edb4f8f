"""A CUDA device that is only pretended: its tensors' values lie on the host.

In `pretended_gpu`, `device="cuda"` gives such tensors. An operation that takes tensors of both
sides raises RuntimeError, as CUDA's would. The values are real, so that a whole training can run,
be resumed and be compared.

FakeTensorMode has no values, and a private backend cannot be called cuda. So these tensors are on
`meta` for C++, which needs no guard, and on CUDA for Python. Autocast changes nothing here, and no
memory is pinned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from feseq.batches.batch import Batch
from feseq.families.feseq.network import device

CUDA = torch.device("cuda:0")
_aten = torch.ops.aten


class OnGpu(Tensor):
    """A tensor that is on CUDA by what it says; `values` on the host."""

    values: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> "OnGpu":
        # An inference tensor could be no view of another one.
        with torch.inference_mode(False):
            made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                values.shape,
                strides=values.stride(),
                storage_offset=values.storage_offset(),
                dtype=values.dtype,
                device="meta",
            )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:
        raise RuntimeError(f"{func} on a pretended GPU outside of its mode")

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    is_cuda, is_meta = True, False  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy = self.detach().clone().requires_grad_(self.requires_grad)
        is_parameter = isinstance(self, torch.nn.Parameter)
        memo[id(self)] = torch.nn.Parameter(copy, self.requires_grad) if is_parameter else copy
        return memo[id(self)]

    def data_ptr(self) -> int:
        return self.values.data_ptr()

    def tolist(self) -> Any:
        return self.cpu().tolist()


class PretendedGpu(TorchDispatchMode):
    """Does the work of each operation on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_leaves([args, kwargs]) if isinstance(value, Tensor)]
        on_gpu = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
        device = kwargs.get("device")
        goes_to_gpu = bool(on_gpu) if device is None else torch.device(device).type != "cpu"
        if not on_gpu and not goes_to_gpu:
            return func(*args, **kwargs)
        # In inference mode, operations come here that autograd would have taken apart.
        with self:
            if (result := func.decompose(*args, **kwargs)) is not NotImplemented:
                return result
        kind = func.overloadpacket
        # A single value may come from the host.
        is_mixed = on_gpu and any(t.dim() for t in tensors if not isinstance(t, OnGpu))
        if is_mixed and kind not in (_aten._to_copy, _aten.copy_):
            shapes = [f"{list(t.shape)} on {t.device.type}" for t in tensors]
            raise RuntimeError(f"{func}: tensors on different devices: {', '.join(shapes)}")
        if device is not None:
            kwargs["device"] = "cpu"
        args_on_host, kwargs = tree_map_only(OnGpu, lambda tensor: tensor.values, (args, kwargs))
        result = func(*args_on_host, **kwargs)
        if kind is _aten.copy_:
            return args[0]
        known = {id(tensor.values): tensor for tensor in on_gpu}
        wrapped = lambda value: known[id(value)] if id(value) in known else OnGpu(value)  # noqa: E731
        return tree_map_only(Tensor, wrapped, result) if goes_to_gpu else result


class _Numbered(TorchFunctionMode):
    """Numbers the device: PyTorch for CPUs cannot ask CUDA which one is current."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = [CUDA if _is_cuda(value) else value for value in args]
        kwargs = {k: CUDA if _is_cuda(value) else value for k, value in (kwargs or {}).items()}
        return func(*args, **kwargs)


def _is_cuda(value: Any) -> bool:
    return isinstance(value, str | torch.device) and str(value) == "cuda"


@contextmanager
def pretended_gpu(memory: int = 14 << 30, triton: bool = False) -> Iterator[PretendedGpu]:
    """PyTorch finds one CUDA device, of capability 9.0 and so much memory, in this thread.

    With `triton`, it says that it can compile for that device. It is not asked itself: a build for
    CUDA asks the driver, and keeps the answer for later tests.
    """
    said: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_bf16_supported": lambda: True,
        "is_current_stream_capturing": lambda: False,
        "device_count": lambda: 1,
        "get_device_name": lambda device: "a pretended T4",
        "get_device_capability": lambda device: (9, 0),
        "get_device_properties": lambda device: SimpleNamespace(
            total_memory=memory, major=9, minor=0
        ),
        "mem_get_info": lambda: (memory, memory),
        "max_memory_allocated": lambda device=None: memory // 2,
        "set_sync_debug_mode": lambda mode: None,
        "set_per_process_memory_fraction": lambda fraction: None,
        **dict.fromkeys(("empty_cache", "synchronize", "reset_peak_memory_stats"), lambda: None),
    }
    products = torch.get_float32_matmul_precision()
    try:
        unpinned = patch.object(Batch, "pinned", lambda batch: batch)
        compiling = patch.object(device, "has_triton", lambda: triton)
        # Whether graphs are captured: optimizers ask it of the driver.
        capturing = patch.object(torch.accelerator, "current_accelerator", lambda **_: None)
        with (
            patch.multiple(torch.cuda, **said),
            unpinned,
            compiling,
            capturing,
            _Numbered(),
            PretendedGpu() as gpu,
        ):
            yield gpu
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision(products)
