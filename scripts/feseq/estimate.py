"""How many rows a step goes over, and how long that took in an earlier run."""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pyarrow.parquet as pq

from .catalog import settings_of_size, split_name
from .raw import open_parquet
from .settings import RawFiles

# Sampling rounds in each class, so the rows to come are known to a few.
_SAME = 0.01


@dataclass(frozen=True)
class Estimate:
    """Expected seconds, None if never timed; `scaled` from another number of rows."""

    seconds: float | None = None
    scaled: bool = False


def raw_rows(config: Mapping[str, Any], raw: RawFiles) -> dict[str, int]:
    """Rows of the raw `train` and `test` file: by its footer, or the settings of the stand-in."""
    if raw.simulated:
        return {split: config["simulation"][f"{split}_rows"] for split in ("train", "test")}
    paths = {"train": raw.train, "test": raw.test}
    return {split: open_parquet(p).metadata.num_rows for split, p in paths.items()}


def expected_rows(
    config: Mapping[str, Any], raw: Mapping[str, int], rule: str, wildcards: Mapping[str, str]
) -> int | None:
    """The rows that a step of `rule` goes over, for a training those of all its epochs together.

    A prediction without a shard goes over the whole test file. None for an unknown rule.
    """
    if rule == "simulate":
        return raw[wildcards["split"]]
    if rule in ("convert_test", "submit"):
        return raw["test"]
    if rule == "predict":
        per_shard = config["test"]["rows_per_shard"]
        start = int(wildcards["shard"]) * per_shard if "shard" in wildcards else 0
        stop = start + per_shard if "shard" in wildcards else raw["test"]
        return max(0, min(stop, raw["test"]) - start)
    if "size" not in wildcards:
        return None
    model = wildcards.get("model")
    settings = settings_of_size(config, wildcards["size"], split_name(model)[1] if model else None)
    drawn = min(settings["rows"] or math.inf, raw["train"])
    valid = round(drawn * config["sampling"]["valid_share"])
    of_rule = {"sample": drawn, "convert_train": drawn, "fit_feature_map": drawn - valid}
    of_rule |= {"train": (drawn - valid) * settings["train"]["epochs"]}
    of_rule |= dict.fromkeys(("evaluate", "ensemble", "measure"), valid)
    of_rule |= {"fit_baseline": min(drawn - valid, config["evaluation"]["baseline_rows"])}
    return int(of_rule[rule]) if rule in of_rule else None


def estimate(
    rule: str, rows: int | None, runs: Iterable[tuple[Path, Path]], jobs: int = 1
) -> Estimate:
    """The time of a step from the (first output, benchmark file) of its jobs' last runs.

    Scaled from the rows of those runs, as their outputs tell them, where `rows` are others. The
    rows of a training count each epoch, so that one which may stop early counts in full.
    """
    timed = [
        (max(seconds, _trained_seconds(rule, output)), done_rows(rule, output))
        for output, benchmark in runs
        if (seconds := benchmark_seconds(benchmark)) is not None
    ]
    if not timed:
        return Estimate()
    total = sum(seconds for seconds, _ in timed)
    done = sum(of_run or 0 for _, of_run in timed)
    if rows is None or any(of_run is None for _, of_run in timed) or not done:
        return Estimate(total * jobs / len(timed) if jobs > 1 else total)
    if abs(rows - done) <= max(2, _SAME * done):
        return Estimate(total)
    return Estimate(total * rows / done, scaled=True)


def benchmark_seconds(path: Path) -> float | None:
    """Mean seconds of a benchmark file; None if it is missing or says none."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            seconds = [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return sum(seconds) / len(seconds) if seconds else None


def done_rows(rule: str, output: Path) -> int | None:
    """Rows that the run behind `output` went over; None if its files do not tell."""
    try:
        if rule in ("simulate", "evaluate", "predict"):
            return int(pq.read_metadata(output).num_rows)
        if rule == "convert_train":
            return _h5_rows(output) + _h5_rows(output.with_name("valid.h5"))
        if rule == "fit_feature_map":
            return _h5_rows(output.with_name("train.h5"))
        if rule == "convert_test":
            return int(json.loads(output.with_name("shards.json").read_text())[-1]["stop"])
        if rule == "train":
            training = _training(output)
            return int(training["train_rows"] * training["epochs"])
        if rule == "fit_baseline":
            return int(_training(output)["train_rows"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return None


def _trained_seconds(rule: str, output: Path) -> float:
    """Of a training all its seconds: one that was interrupted is timed from there on."""
    try:
        return float(_training(output)["seconds"]) if rule == "train" else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _training(model: Path) -> Any:
    return json.loads(model.with_name("training.json").read_text())


def _h5_rows(path: Path) -> int:
    with h5py.File(path) as file:
        return int(file.attrs["rows"])
