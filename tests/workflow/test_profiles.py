"""Profiles agree with the rules and with one another; what Slurm is asked for."""

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake.cli import parse_set_resources

from support import REPOSITORY, slurm_stand_in
from support.rules import rules
from support.shop import CONFIG, snakemake

PROFILES = {
    file.parent.name: yaml.safe_load(file.read_text())
    for file in sorted((REPOSITORY / "profiles").glob("*/config.yaml"))
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_decides_like_the_default_one_and_names_rules_that_exist(name: str) -> None:
    for key in ("rerun-triggers", "rerun-incomplete"):
        assert PROFILES[name][key] == PROFILES["default"][key]
    assert set(PROFILES[name].get("set-resources", {})) <= set(rules())


def test_the_rules_that_ask_for_a_gpu_and_no_others_run_on_the_gpu_partition() -> None:
    on_gpus = {name for name, rule in rules().items() if "gpu" in rule.resources}
    assert {"train", "refit", "predict", "predict_valid", "tune"} <= on_gpus
    given = PROFILES["slurm"]["set-resources"]
    assert {rule for rule in given if "slurm_partition" in given[rule]} == on_gpus


def resources(rule: str, size: str, attempt: int) -> dict[str, Any]:
    """The values of a Slurm job, as Snakemake finds them."""
    blocks, wildcards = PROFILES["slurm"], SimpleNamespace(size=size)
    given = blocks["default-resources"] | blocks["set-resources"].get(rule, {})
    parsed = parse_set_resources([f"{rule}:{name}={value}" for name, value in given.items()])
    beside = {"input": [], "threads": 8, "rulename": rule, "async_run": None}
    return {
        name: value.evaluate(wildcards, attempt=attempt, **beside).value
        for name, value in parsed[rule].items()
        if value.is_evaluable()
    }


def test_a_second_attempt_gets_more_memory_and_a_training_has_time_to_save() -> None:
    for rule, size in product(rules(), ("toy", "medium", "full")):
        first, second = (resources(rule, size, attempt) for attempt in (1, 2))
        assert 0 < first["mem_mb"] < second["mem_mb"]
        if rule in ("train", "refit", "tune"):
            # The signal comes so many seconds before the limit.
            seconds = int(first["slurm_extra"].removeprefix("--signal=TERM@"))
            assert 60 * first["runtime"] >= 3 * seconds


@pytest.mark.workflow
def test_the_chain_runs_on_slurm_and_a_killed_job_gets_more(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = tmp_path / "jobs"
    slurm_stand_in.install(tmp_path / "bin", jobs, monkeypatch)
    monkeypatch.setenv("STAND_IN_KILLS", "train")
    submission = copied / "results/submission_toy.csv"
    before = submission.read_bytes()
    for file in ("model.safetensors", "predictions/part000.parquet"):
        (copied / "results/toy/len20" / file).unlink()
    submission.unlink()
    profile = ("--workflow-profile", str(REPOSITORY / "profiles/slurm"))
    soon = ("--latency-wait", "10", "--slurm-init-seconds-before-status-checks", "1")
    snakemake(copied, *profile, *soon, "results/submission_toy.csv")
    assert submission.read_bytes() == before
    predictions = "results/toy/len20/valid_predictions.parquet"
    snakemake(copied, *profile, *soon, predictions, config=CONFIG | {"runtime": {"device": "cpu"}})
    asked = slurm_stand_in.submitted(jobs)
    keys = ("rule", "partition", "gpus", "mem", "time", "signal", "state")
    # A thousand MB a thread, of which two cores allow two.
    assert sorted(tuple(job[key] for key in keys) for job in asked) == [
        ("predict", "gpu", "1", "2000", "120", None, "COMPLETED"),
        ("predict_valid", "gpu", None, "2000", "120", None, "COMPLETED"),
        ("submit", "cpu", None, "3000", "30", None, "COMPLETED"),
        ("train", "gpu", "1", "2000", "30", "TERM@600", "OUT_OF_MEMORY"),
        ("train", "gpu", "1", "3000", "30", "TERM@600", "COMPLETED"),
    ]
