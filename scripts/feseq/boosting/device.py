"""The device that XGBoost trains on."""

import ctypes
import logging

import xgboost

from ..common.errors import UserError

logger = logging.getLogger(__name__)


def choose_device(name: str) -> str:
    """`auto`: CUDA where XGBoost and the machine have it, else the CPU; else the device named.

    Raises UserError if CUDA is named and missing, since XGBoost would take the CPU instead.
    """
    has_device, missing = has_cuda_device(), ""
    if not xgboost.build_info().get("USE_CUDA"):
        missing = "this XGBoost is the build for CPUs (docs/boosting.md)"
    elif not has_device:
        missing = "no CUDA device found"
    if name == "cuda" and missing:
        raise UserError(f"runtime.device is cuda, and {missing}; use auto or cpu")
    if name == "auto" and missing and has_device:
        logger.warning("%s: boosting on the CPU, beside a GPU", missing)
    device = "cpu" if missing or name == "cpu" else "cuda"
    logger.info("device: %s", device)
    return device


def has_cuda_device() -> bool:
    """By the driver, which heeds CUDA_VISIBLE_DEVICES, without PyTorch."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return (
        not (driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))) and count.value > 0
    )
