"""How much memory there is."""

import os
from pathlib import Path

import pytest

from feseq.common.memory import machine_memory

COMPUTER = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
JOB = "system.slice/job_7/step_0"
VERSION_2, VERSION_1 = f"0::/{JOB}\n", f"3:cpuset:/\n4:cpu,memory:/{JOB}\n"


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        (VERSION_2, {f"{JOB}/memory.max": "3000000"}, 3_000_000),
        (VERSION_2, {f"{JOB}/memory.max": "max", "system.slice/job_7/memory.max": "5000"}, 5000),
        # A container sees its own group as the top.
        ("0::/\n", {"memory.max": "7000"}, 7000),
        (VERSION_2, {f"{JOB}/memory.max": "max"}, COMPUTER),
        (VERSION_1, {f"memory/{JOB}/memory.limit_in_bytes": "4000"}, 4000),
        (VERSION_1, {f"memory/{JOB}/memory.limit_in_bytes": str(2**63 - 4096)}, COMPUTER),
        (VERSION_1, {}, COMPUTER),
        (None, {}, COMPUTER),
    ],
)
def test_a_control_group_s_limit_counts_as_the_machine_s_memory(
    groups: str | None, limits: dict[str, str], expected: int, tmp_path: Path
) -> None:
    for path, limit in limits.items():
        file = tmp_path / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    assert machine_memory(tmp_path) == expected
