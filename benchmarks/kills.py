"""Jobs killed at random moments: each must resume and give the same submission.

    python benchmarks/kills.py --aim train --kills 20 --group_kills 5 --terms 5 --seed 1

The aim is the job to kill: a network's training (`train`) or its refit, a training of boosting, or
the writing of the submission (`submit`). First, the workflow runs uninterrupted on a small
simulated table. Then each line of the table is one kill: all files that the job needs exist, the
workflow starts the job, and the job is killed at a random moment of its process's life, including
imports and the writing of files. `kill` is SIGKILL to this process, `group` SIGKILL to snakemake
and all its processes, `term` SIGTERM to this process. The same command must then resume from the
step last saved, if any, and write the same bytes. `lost s` is the repeated work: the seconds from
the last save (without one, from the start of the process) to the kill.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import runs
import yaml
from snakemake.utils import update_config

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from tossctr.common import tensors

SUBMISSION = "results/submission_toy.csv"
MODEL, STATE = "results/toy/len100/model.safetensors", "training_state/state.safetensors"
BEFORE_TRAINING = ("data/h5/toy/feature_map.json", "data/h5/test/part000.h5")
BEFORE_SUBMISSION = ("results/toy/len100/predictions/part000.parquet", "results/toy/data.json")
# Evaluations, and so saves, are a few steps apart.
CONFIG: dict[str, Any] = {
    "table": runs.simulated(train_rows=4000, test_rows=300),
    "sizes": {
        "toy": {
            "rows": None,
            "submission_models": ["len100"],
            "train": {"epochs": 12, "evaluations_per_epoch": 4, "patience": 1000},
        }
    },
    "submission": {"refit": False},
    "runtime": {"device": "cpu"},
}
HEADER = """| kind | after s | step saved | lost s | rerun | CSV equal |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Aim:
    """A job to kill: its script, the start of its Snakemake message, the files made before it.

    `state` is the file of its saved state, if it has one; `changes` override the config.
    """

    script: str
    message: str
    before: tuple[str, ...] = BEFORE_TRAINING
    state: str = ""
    changes: dict[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """The config with the changes."""
        config = deepcopy(CONFIG)
        update_config(config, self.changes)
        return config


AIMS = {
    "train": Aim("train", "Training len100 on", state=f"results/toy/len100/{STATE}"),
    "refit": Aim(
        "train",
        "Retraining len100 with the validation rows",
        (*BEFORE_TRAINING, MODEL),
        f"results/toy/len100/refit/{STATE}",
        {"submission": {"refit": True}},
    ),
    "boosting": Aim(
        "train",
        "Training boosting on",
        changes={"sizes": {"toy": {"submission_models": ["boosting"]}}},
    ),
    "submit": Aim("submit", "Writing the submission", BEFORE_SUBMISSION),
}


class Run:
    """One snakemake in its own process session; its output goes to a file in its folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / "printed.txt"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
        command += ["--directory", str(folder), "--cores", "1", *arguments]
        command += ["--configfile", str(folder / "kills.yaml")]
        options: dict[str, Any] = {"stderr": subprocess.STDOUT, "start_new_session": True}
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(command, stdout=output, **options)

    def finish(self) -> str:
        """Wait for snakemake to end; returns its output. Raises RuntimeError if it failed."""
        code, printed = self.process.wait(), self.output.read_text()
        if code:
            raise RuntimeError(f"exit code {code}:\n{printed}")
        return printed

    def job(self, script: str) -> psutil.Process:
        """The process that runs the script, as soon as it exists."""
        while self.process.poll() is None:
            for child in self._children():
                with suppress(psutil.Error):
                    command = child.cmdline()
                    # Not the shell around it, whose command also has the name.
                    if command and "python" in command[0] and command[-1].endswith(f".{script}.py"):
                        return child
            time.sleep(0.02)
        raise RuntimeError(f"{script} never started:\n{self.output.read_text()}")

    def end(self, kind: str, job: psutil.Process) -> None:
        """Send the signal and wait until all processes are gone."""
        children = self._children()
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # its own end may be faster
            if kind == "group":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                job.send_signal(signal.SIGTERM if kind == "term" else signal.SIGKILL)
        self.process.wait()
        if psutil.wait_procs(children, timeout=120)[1]:
            raise RuntimeError(f"processes outlived a {kind}")

    def _children(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []


@dataclass(frozen=True)
class Outcome:
    """One line of the table. `rerun` says what the job did in the second run."""

    kind: str
    after_s: float
    step: int | None  # of the state last saved
    lost_s: float
    rerun: str
    is_equal: bool

    def __str__(self) -> str:
        step, equal = self.step or "none", "yes" if self.is_equal else "NO"
        cells = [self.kind, f"{self.after_s:.1f}", step, f"{self.lost_s:.1f}", self.rerun, equal]
        return f"| {' | '.join(map(str, cells))} |"


def uninterrupted(before: Path, number: int, aim: Aim) -> tuple[bytes, float]:
    """Make the submission in a copy of `before`; returns its bytes and the job's seconds."""
    folder = before.with_name(f"uninterrupted{number}")
    shutil.copytree(before, folder)
    run = Run(folder, SUBMISSION)
    job, started = run.job(aim.script), time.time()
    psutil.wait_procs([job])
    ended = time.time()
    run.finish()
    return (folder / SUBMISSION).read_bytes(), ended - started


def interrupted(
    before: Path, number: int, kind: str, after_s: float, expected: bytes, aim: Aim
) -> Outcome:
    """Start the job in a copy of `before`, kill it, and run the same command again."""
    folder = before.with_name(f"interrupted{number}")
    shutil.copytree(before, folder)
    run = Run(folder, SUBMISSION)
    job, started = run.job(aim.script), time.time()
    time.sleep(after_s)
    ended = time.time()
    run.end(kind, job)
    state = folder / aim.state
    step = tensors.load(state)["state"]["stepper"]["step"] if state.is_file() else None
    # After SIGTERM, a training saves its state later than `ended`.
    lost_s = max(0.0, ended - (started if step is None else state.stat().st_mtime))
    try:
        rerun = run_again(folder, kind, step, aim)
        is_equal = (folder / SUBMISSION).read_bytes() == expected
    except RuntimeError as error:
        print(f"{kind} after {after_s:.1f} s: {error}", file=sys.stderr)
        rerun, is_equal = "failed", False
    lost_s *= rerun != "nothing left to do"
    return Outcome(kind, after_s, step, lost_s, rerun, is_equal)


def run_again(folder: Path, kind: str, step: int | None, aim: Aim) -> str:
    """What the job of a second run did. Raises RuntimeError if it did not resume from `step`."""
    if kind == "group":
        Run(folder, "--unlock", SUBMISSION).finish()
    printed = Run(folder, SUBMISSION).finish()
    if aim.message not in printed:
        return "nothing left to do"
    resumed = re.search(r"resuming an interrupted training.*, step (\d+),", printed)
    if (int(resumed[1]) if resumed else None) != step:
        raise RuntimeError(f"did not resume from step {step}:\n{printed}")
    return "resumed" if resumed else "from the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"kills": 20, "group_kills": 5, "terms": 5, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--at_once", type=int, default=2, help="runs at a time, each on one core")
    parser.add_argument("--aim", choices=AIMS, default="train")
    options = parser.parse_args()
    aim = AIMS[options.aim]
    kinds = ["kill"] * options.kills + ["group"] * options.group_kills + ["term"] * options.terms
    random, outcomes = Random(options.seed), []
    with TemporaryDirectory() as temporary, ThreadPoolExecutor(options.at_once) as pool:
        before = Path(temporary) / "before"
        before.mkdir()
        (before / "kills.yaml").write_text(yaml.safe_dump(aim.config()))
        Run(before, *aim.before).finish()
        # As many at a time as later, so that the job takes as long.
        whole = list(
            pool.map(lambda number: uninterrupted(before, number, aim), range(options.at_once))
        )
        expected, seconds = whole[0]
        assert all(content == expected for content, _ in whole), "uninterrupted runs differ"
        print(
            f"uninterrupted: {len(expected):,} bytes, {seconds:.1f} s of {options.aim}\n\n{HEADER}"
        )
        lines = [(n, kind, random.uniform(0, seconds)) for n, kind in enumerate(kinds)]
        for outcome in pool.map(lambda line: interrupted(before, *line, expected, aim), lines):
            print(outcome, flush=True)
            outcomes.append(outcome)
    bad = sum(not outcome.is_equal for outcome in outcomes)
    print(f"\n{len(outcomes)} ends, {bad} without the same submission")
    for kind in dict.fromkeys(kinds):
        lost = [outcome.lost_s for outcome in outcomes if outcome.kind == kind and outcome.step]
        if lost:
            mean = sum(lost) / len(lost)
            print(f"{kind}, {len(lost)} with a state: lost {mean:.2f} s, at most {max(lost):.2f} s")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
