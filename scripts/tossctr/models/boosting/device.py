"""The device that XGBoost trains on."""

import logging

import xgboost

from ...common.errors import UserError
from ...common.machine import has_cuda_device

logger = logging.getLogger(__name__)


def choose_device(name: str) -> str:
    """The device of that name; for `auto`, CUDA if XGBoost and the machine have it, else the CPU.

    Raises UserError if the name is CUDA and it is missing: XGBoost would take the CPU instead.
    """
    has_device, missing = has_cuda_device(), ""
    if not xgboost.build_info().get("USE_CUDA"):
        missing = "this XGBoost is the build for CPUs (docs/boosting.md)"
    elif not has_device:
        missing = "no CUDA device found"
    if name == "cuda" and missing:
        raise UserError(f"runtime.device is cuda, and {missing}; use auto or cpu")
    if name == "auto" and missing and has_device:
        logger.warning("%s: boosting on the CPU, and the GPU is idle", missing)
    device = "cpu" if missing or name == "cpu" else "cuda"
    logger.info("device: %s", device)
    return device
