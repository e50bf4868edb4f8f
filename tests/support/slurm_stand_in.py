"""Slurm's commands, as far as Snakemake's executor calls them; jobs run at once, where they are.

A job leaves a folder of its number in $STAND_IN_JOBS: its options, and the state it ended in.
The snakemake that it calls is a fork, as that of `support.shop` which submits it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from multiprocessing import connection
from pathlib import Path
from typing import Any

OPTIONS = {"-p": "partition", "-t": "time", "-D": "chdir"}
OPTIONS |= {f"--{name}": name for name in ("output", "comment", "gpus", "mem", "signal", "wrap")}
PYTHON = f"exec {sys.executable} {__file__}"
COMMANDS = {
    "sbatch": f'{PYTHON} sbatch "$@"',
    "srun": f'{PYTHON} srun "$@"',
    "squeue": 'cd "$STAND_IN_JOBS" && for s in */state; do echo "${s%/*}|$(cat $s)"; done',
    # A cluster where squeue can be asked for jobs that have ended.
    "scontrol": 'echo "MinJobAge = 300 sec"; echo "MaxArraySize = 1001"',
    "sacct": "exit 1 # no accounting database",
}


def install(commands: Path, jobs: Path, monkeypatch: Any) -> None:
    """Put the commands first in PATH; `jobs` is the folder for what they are asked for."""
    for folder in (commands, jobs):
        folder.mkdir()
    for name, script in COMMANDS.items():
        (commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setenv("STAND_IN_JOBS", str(jobs))


def submitted(jobs: Path) -> list[dict[str, str]]:
    """The options, rule and state of each job."""
    return [
        json.loads((job / "options.json").read_text()) | {"state": (job / "state").read_text()}
        for job in jobs.iterdir()
    ]


def sbatch(arguments: list[str]) -> int:
    """Run the job to its end; the first of $STAND_IN_KILLS, a rule, is killed before."""
    jobs = Path(os.environ["STAND_IN_JOBS"])
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for option, name in OPTIONS.items():
        parser.add_argument(option, dest=name)
    options = vars(parser.parse_known_args(arguments)[0])
    rule = options["comment"].removeprefix("rule_").split("_wildcards_")[0]
    number = str(time.monotonic_ns())
    folder = jobs / number
    folder.mkdir()
    (folder / "state").write_text("RUNNING")
    (folder / "options.json").write_text(json.dumps(options | {"rule": rule}))
    state = "OUT_OF_MEMORY"
    killed = jobs.with_name("killed")
    if rule == os.environ.get("STAND_IN_KILLS") and not killed.exists():
        killed.touch()
    else:
        with open(options["output"].replace("%j", number), "a") as log:
            job = {**os.environ, "SLURM_JOB_ID": number}
            forked = f"{sys.executable} {__file__} python"
            wrapped = options["wrap"].replace(sys.executable, forked, 1)
            done = subprocess.run(
                ["sh", "-c", wrapped], cwd=options["chdir"], env=job, stdout=log, stderr=log
            )
        state = "FAILED" if done.returncode else "COMPLETED"
    (folder / "state").write_text(state)
    print(number)
    return 0


def srun(arguments: list[str]) -> int:
    command = next(i for i, argument in enumerate(arguments) if not argument.startswith("-"))
    assert arguments[command] == sys.executable
    return python(arguments[command + 1 :])


def python(arguments: list[str]) -> int:
    """`python -m snakemake ...`; it prints where this one does."""
    assert arguments[:2] == ["-m", "snakemake"]
    printed = os.readlink("/proc/self/fd/1")
    with connection.Client(os.environ["SHOP_STARTER"]) as starter:
        job = (["snakemake", *arguments[2:]], printed, dict(os.environ), os.getcwd())
        starter.send(("snakemake", *job))
        return int(starter.recv())


if __name__ == "__main__":
    command = {"sbatch": sbatch, "srun": srun, "python": python}[sys.argv[1]]
    sys.exit(command(sys.argv[2:]))
