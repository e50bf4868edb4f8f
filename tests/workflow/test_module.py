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
    own |= {"sizes": {"toy": {"submission_models": ["boosting"]}}}
    own |= {"boosting": {"trees": 3, "bags": 1, "features": [], "min_child_weight": 1}}

    def run(*arguments: str) -> str:
        (tmp_path / "own.json").write_text(json.dumps({"clicks": own, "mine": 1}))
        return shop.run(tmp_path, *arguments, target, metrics)

    (tmp_path / "Snakefile").write_text(IMPORTER.format(f'"{REPOSITORY}/Snakefile"'))
    target, metrics = "results/submission_toy.csv", "results/toy/boosting/metrics.json"
    assert "SIMULATED DATA: no data/raw/train.parquet" in run()
    submission = pd.read_csv(tmp_path / target)
    assert submission["ID"].tolist() == [f"TEST_{i:07}" for i in range(40)]
    assert submission["clicked"].between(0, 1).all()
    assert submission["clicked"].nunique() > 1
    about = json.loads((tmp_path / target).with_suffix(".json").read_text())
    assert (about["models"], about["simulated_data"]) == (["toy/boosting"], True)
    measured = json.loads((tmp_path / metrics).read_text())
    assert measured["simulated_data"] is True
    assert 0.5 < measured["best_auc"] < 1
    assert "Nothing to be done" in run("-n")
    own["boosting"]["seed"] = 1
    assert "settings.boosting.seed=42' now: 'settings.boosting.seed=1'" in run("-n")


def test_a_workflow_imports_a_hosted_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted, folder = tmp_path / "hosted", tmp_path / "run"
    shop.copy_code(hosted)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(hosted)]
    for command in ("init --quiet --initial-branch=main", "add --all", "commit --quiet -m all"):
        subprocess.run([*git, *command.split()], check=True)
    # What asks for GitHub gets that.
    (tmp_path / "gitconfig").write_text(
        f'[url "file://{hosted}"]\n\tinsteadOf = https://github.com/owner/clicks\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shop.write_inputs(folder)
    (folder / "own.json").write_text(json.dumps({"clicks": shop.CONFIG}))
    place = 'github("owner/clicks", path="workflow/Snakefile", branch="main")'
    (folder / "Snakefile").write_text(IMPORTER.format(place))
    # A script finds its library there.
    shop.run(folder, "data/h5/test/parts.json")
