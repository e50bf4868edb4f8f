"""The workflow as another workflow imports it."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from support import REPOSITORY, shop

pytestmark = pytest.mark.workflow

IMPORTER = """
configfile: "own.json"


module feseq:
    snakefile:
        "{repository}/Snakefile"
    config:
        config["clicks"]
    prefix:
        "clicks"


use rule * from feseq as clicks_*


rule count:
    default_target: True
    input:
        "clicks/results/submission_toy.csv",
    output:
        "rows.txt",
    shell:
        "wc -l < {{input}} > {{output}}"
"""


# As snakedeploy writes it.
DEPLOYED = """
configfile: "own.json"


module feseq:
    snakefile:
        github("owner/clicks", path="{path}", branch="main")
    config:
        config


use rule * from feseq
"""


def test_an_importing_workflow_gives_some_keys_and_a_prefix_and_runs_to_its_own_target(
    tmp_path: Path,
) -> None:
    shop.write_inputs(tmp_path)
    raw = {name: str(tmp_path / shop.CONFIG["raw"][name]) for name in ("train", "test")}
    # Other keys, such as `submission`, are those of config/config.yaml.
    own = {"raw": {"source": "files", **raw}, "columns": shop.CONFIG["columns"]}
    own |= {"train": {**shop.CONFIG["train"]}, "sizes": {"toy": shop.CONFIG["sizes"]["toy"]}}
    (tmp_path / "own.json").write_text(json.dumps({"clicks": own, "mine": 1}))
    (tmp_path / "Snakefile").write_text(IMPORTER.format(repository=REPOSITORY))
    code, output = shop.run(tmp_path)
    assert code == 0, output
    assert (tmp_path / "rows.txt").read_text().split() == [str(shop.TEST_ROWS + 1)]
    submission = pd.read_csv(tmp_path / "clicks/results/submission_toy.csv")
    assert submission["bought"].between(0, 1).all()
    assert not (tmp_path / "results").exists()
    code, output = shop.run(tmp_path, "-n")
    assert "Nothing to be done" in output
    # A trained model is found behind the prefix, and so compared.
    _, output = shop.run(tmp_path, "-n", "clicks/results/comparison.csv")
    assert "Measuring len20 of size toy" in output
    own["train"]["seed"] = 1
    (tmp_path / "own.json").write_text(json.dumps({"clicks": own}))
    _, output = shop.run(tmp_path, "-n")
    assert "settings.train.seed=42' now: 'settings.train.seed=1'" in output
    own["train"]["start_from"] = str(tmp_path / "clicks/results/toy/len20/model.safetensors")
    (tmp_path / "own.json").write_text(json.dumps({"clicks": own}))
    _, output = shop.run(tmp_path, "-n")
    assert "is the file of the very model" in output
    own["trian"] = {}
    (tmp_path / "own.json").write_text(json.dumps({"clicks": own}))
    code, output = shop.run(tmp_path, "-n")
    assert code == 1
    assert "trian" in output


def test_a_workflow_imports_a_hosted_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = tmp_path / "hosted"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(hosted)]
    folders = ("Snakefile", "workflow", "rules", "scripts", "config", "envs", "profiles")
    for command in (
        ["git", "init", "--quiet", "--initial-branch=main", str(hosted)],
        ["cp", "-r", *(str(REPOSITORY / name) for name in folders), str(hosted)],
        [*git, "add", "--all"],
        [*git, "commit", "--quiet", "--message=all"],
    ):
        subprocess.run(command, check=True)
    # What asks for GitHub gets that.
    (tmp_path / "gitconfig").write_text(
        f'[url "file://{hosted}"]\n\tinsteadOf = https://github.com/owner/clicks\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "own.json").write_text(json.dumps({"simulation": {"test_rows": 20}}))
    (tmp_path / "Snakefile").write_text(DEPLOYED.format(path="workflow/Snakefile"))
    code, output = shop.run(tmp_path, "-n")
    assert code == 0, output
    assert "Summing up all models" in output
    (commit,) = (tmp_path / ".snakemake/workflow").iterdir()
    assert (commit / "scripts/feseq/train/loop.py").exists()
    # A script finds its library there.
    code, output = shop.run(tmp_path, "data/simulated/test.parquet")
    assert code == 0, output
    (tmp_path / "Snakefile").write_text(DEPLOYED.format(path="Snakefile"))
    code, output = shop.run(tmp_path, "-n")
    assert code == 1
    assert 'import the file path="workflow/Snakefile" of the repository' in output
    assert "Traceback" not in output
