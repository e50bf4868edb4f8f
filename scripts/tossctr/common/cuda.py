"""Whether this machine has a CUDA device, asked without PyTorch or XGBoost."""

import ctypes

# Set in the environment of jobs whose Snakemake has warned that there is no such device.
SAID_CPU = "FESEQ_SAID_CPU"


def has_cuda_device() -> bool:
    """True if the driver reports a device; it heeds CUDA_VISIBLE_DEVICES."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return (
        not (driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))) and count.value > 0
    )
