"""The last lines of a run on the terminal: its results, or the errors of failed jobs."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..common.files import read_json
from ..describe.alarms import read_alarms


def result_lines(results: Path, started: float) -> Iterator[str]:
    """Yield a line for each data page, submission and summary that was written since `started`."""

    def written(pattern: str) -> list[Path]:
        return [path for path in results.glob(pattern) if path.stat().st_mtime >= started]

    for path in written("*/data.json"):
        yield f"{path.with_suffix('.html')}: alarms: {len(read_alarms(path)) or 'none'}"
    for path in written("submission_*.json"):
        about = read_json(path)
        names = [name.rpartition("/")[2] for name in about["models"]]
        weights = [f" ({weight:.2g})" if len(names) > 1 else "" for weight in about["weights"]]
        models = " + ".join(f"{name}{weight}" for name, weight in zip(names, weights))
        data = ", SIMULATED" if about["simulated_data"] else ""
        odds = "balanced odds" if about["prior"] == "balanced" else "odds of the train rows"
        yield f"{path.with_suffix('.csv')}: {about['rows']:,} rows, {odds}: {models}{data}"
    for path in written("summary.md"):
        decision = path.read_text(encoding="utf-8").splitlines()[2].replace("*", "")
        yield f"{path.with_suffix('.html')}: {decision}"


def failure_lines(log: Path) -> Iterator[str]:
    """Yield the last error of each failed job, from the job logs named in Snakemake's `log`.

    On Slurm, an attempt of a job has two logs: the job's, and Slurm's, with the reason of a kill.
    """
    found = re.findall(r"^ +log: (.+) \(check log file", log.read_text(errors="replace"), re.M)
    last_attempts = {names.partition(", ")[0]: names for names in found}
    for names in last_attempts.values():
        # A job that did not start has no log.
        paths = [path for name in names.split(", ") if (path := Path(name)).exists()]
        text = "".join(path.read_text(errors="replace") for path in paths)
        # After a job's error, Slurm's says only that the job has failed.
        errors = re.findall(r"^\S+ ERROR (.+)", text, re.M)
        errors = errors or re.findall(r"^\S+ error: (.+)", text, re.M)
        why = "has no error; the job may have been killed, or did not start"
        yield f"{names}: {errors[-1] if errors else why}"
