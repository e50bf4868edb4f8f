"""The workflow as another workflow imports it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support import REPOSITORY, shop
from support.configs import shipped

pytestmark = pytest.mark.workflow

TOSS = shipped()["table"]

IMPORTER = """
configfile: "own.json"


module tossctr:
    snakefile: {}
    config: config["clicks"]


use rule * from tossctr as clicks_*
"""


def test_an_importing_workflow_gives_some_keys_and_runs_on_the_stand_in(tmp_path: Path) -> None:
    # Other keys, such as `submission`, are those of config/config.yaml.
    simulation = {"train_rows": 600, "test_rows": 40, "mean_length": 15}
    own: dict[str, Any] = {"table": TOSS | {"simulation": simulation}}
    own["train"] = {"min_steps_per_epoch": 1}

    def plan(target: str, code: int = 0) -> str:
        (tmp_path / "own.json").write_text(json.dumps({"clicks": own, "mine": 1}))
        return shop.run(tmp_path, "-n", target, code=code)

    (tmp_path / "Snakefile").write_text(IMPORTER.format(f'"{REPOSITORY}/Snakefile"'))
    target = "results/submission_toy.csv"
    output = plan(target)
    assert "SIMULATED DATA: no data/raw/train.parquet" in output
    # Not yet the jobs of single parts.
    assert output.count("Reason: Missing output files") == 15
    results, metrics = tmp_path / "results", "results/toy/len100/metrics.json"
    output = shop.run(tmp_path, target, metrics)
    assert "1,000 rows asked for, there are 600: taking all" in output
    for model in ("len100", "boosting"):  # by default both kinds submit, refitted
        assert (results / f"toy/{model}/refit/model.safetensors").exists()
    submission = pd.read_csv(results / "submission_toy.csv")
    assert submission["ID"].tolist() == [f"TEST_{i:07}" for i in range(40)]
    assert submission["clicked"].between(0, 1).all()
    measured = json.loads((tmp_path / metrics).read_text())
    assert measured["simulated_data"] is True
    assert measured["best_auc"] > 0.5
    assert "Nothing to be done" in plan(target)
    # Trained models are compared.
    (tmp_path / metrics).unlink()
    assert "Measuring len100 of size toy" in plan("results/comparison.csv")
    own["train"]["seed"] = 1
    assert "settings.train.seed=42' now: 'settings.train.seed=1'" in plan(target)
    own["trian"] = {}
    assert "trian" in plan(target, code=1)


def test_a_workflow_imports_a_hosted_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = tmp_path / "hosted"
    shop.copy_code(hosted)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(hosted)]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message=all"],
    ):
        subprocess.run([*git, *command], check=True)
    # What asks for GitHub gets that.
    (tmp_path / "gitconfig").write_text(
        f'[url "file://{hosted}"]\n\tinsteadOf = https://github.com/owner/clicks\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = {"table": TOSS | {"simulation": {"test_rows": 20}}}
    (tmp_path / "own.json").write_text(json.dumps({"clicks": own}))
    place = 'github("owner/clicks", path="{}Snakefile", branch="main")'
    (tmp_path / "Snakefile").write_text(IMPORTER.format(place.format("workflow/")))
    # A script finds its library there.
    shop.run(tmp_path, "data/simulated/test.parquet")
    (tmp_path / "Snakefile").write_text(IMPORTER.format(place.format("")))
    output = shop.run(tmp_path, "-n", code=1)
    assert 'import the file path="workflow/Snakefile" of the repository' in output
    assert "Traceback" not in output
