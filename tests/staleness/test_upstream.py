"""The steps that a last file is made by are those that Snakemake plans for it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from feseq.staleness.upstream import (
    comparison_steps,
    data_steps,
    fold_steps,
    measured_steps,
    scoring_steps,
    submission_steps,
    summary_steps,
)
from support import REPOSITORY
from support.shop import CONFIG, snakemake, write_inputs

pytestmark = pytest.mark.workflow


def planned(folder: Path, target: str, config: dict[str, Any]) -> dict[str, int]:
    """Rules of the jobs that `target` is made by but the last one, with their number."""
    code, output = snakemake(folder, "-n", target, config=config)
    assert code == 0, output
    jobs = re.findall(r"^(\w+) +(\d+)$", output.split("Job stats:")[1].split("\n\n")[0], re.M)
    return {rule: int(number) for rule, number in jobs if rule != "total"}


def counted(steps: list[tuple[str, dict[str, str]]]) -> dict[str, int]:
    """Rules of the steps, with the number of jobs."""
    jobs = {(rule, *sorted(wildcards.items())) for rule, wildcards in steps}
    rules = [rule for rule, *_ in jobs]
    return {rule: rules.count(rule) for rule in rules}


@pytest.mark.parametrize("source", ["files", "simulated"])
def test_they_are_those_of_the_plan(source: str, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    two = {"sizes": {"toy": {"submission_models": ["len20", "len5"], "max_len": [5, 20]}}}
    two |= {"submission": {"refit": True}}
    simulated = {"raw": {"source": "simulated"}, "evaluation": {"sizes": ["toy", "full"]}} | two
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    update_config(config, CONFIG if source == "files" else simulated)
    is_simulated = source == "simulated"

    plan = planned(tmp_path, "results/submission_toy.csv", config)
    steps = list(submission_steps(config, "toy", is_simulated))
    # The page of the data is no part of the submission.
    assert (plan.pop("submit"), plan.pop("describe")) == (1, 1)
    # Jobs of each part, and how many these are is known once the parts are listed.
    models = len(config["sizes"]["toy"]["submission_models"])
    assert plan | {"convert_train": 1, "convert_test": 1, "predict": models} == counted(steps)

    plan = planned(tmp_path, "results/summary.md", config)
    results = tmp_path / "results"
    steps = [
        *summary_steps(config, results),
        *comparison_steps(config, results, is_simulated),
    ]
    sizes = config["evaluation"]["sizes"]
    described = [step for size in sizes for step in data_steps(size, is_simulated)]
    assert (plan.pop("summarize"), plan.pop("describe")) == (1, len(sizes))
    of_parts = {"convert_train": len(sizes), "convert_test": 1}
    assert plan | of_parts == counted([*steps, *described])


def test_those_of_scores_pairs_and_folds_too(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    update_config(config, CONFIG)
    models = ["len20", "boosting"]
    changes = {
        "sampling": {"folds": 3},
        "score": {"again": config["raw"]["test"]},
        "submission": {"refit": True},
        "sizes": {"toy": {"submission_models": models, "submission_weights": "auto"}},
    }
    update_config(config, changes)
    for target, last, steps in (
        ("scores/toy/again.parquet", "score_by_size", scoring_steps(config, "toy", models, False)),
        (
            "toy/compare/len20_vs_boosting.md",
            "compare_two",
            (step for name in models for step in measured_steps("toy", name, False)),
        ),
        ("toy/len20/oof_predictions.parquet", "join_folds", fold_steps("toy", "len20", 3, False)),
        (
            "toy/boosting/oof_predictions.parquet",
            "join_folds",
            fold_steps("toy", "boosting", 3, False),
        ),
    ):
        plan = planned(tmp_path, f"results/{target}", config)
        assert plan.pop(last) == 1
        assert plan | {"convert_train": 1} == counted([*steps])
