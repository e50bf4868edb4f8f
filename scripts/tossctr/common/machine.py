"""The processors, memory and CUDA devices available to a process, and its peak memory."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Configure glibc, if present, to keep freed memory instead of returning it to the kernel.

    Otherwise, page faults in each batch's large arrays take 10 to 40 % of a training step on a CPU.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        # Only the first arena obeys the trim threshold.
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_memory(root: Path = Path("/")) -> int:
    """The memory that this process may use, in bytes.

    This is the computer's memory, or the lowest limit of the process's control group (of a Slurm
    job or container) and its parents. Tests give another `root` with the folders `proc` and `sys`.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    groups = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return limits[0]
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number == "0":
            top, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            try:
                # Version 2 has `max` if there is no limit.
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):
                continue
    return min(limits)


def peak_memory() -> int:
    """The peak memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB on Linux.
    return peak if sys.platform == "darwin" else 1024 * peak


def has_cuda_device() -> bool:
    """True if the driver reports a CUDA device that CUDA_VISIBLE_DEVICES does not hide."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return not failed and count.value > 0
