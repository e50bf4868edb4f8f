"""docs/own-model.md: its family, written into a copy of the workflow as the page says."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support import REPOSITORY
from support.shop import TEST_ROWS, changed, copy_code, snakemake, write_inputs

pytestmark = pytest.mark.workflow

PAGE = (REPOSITORY / "docs/own-model.md").read_text()
# By the file of the package that each begins with.
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.S))


def test_the_family_of_the_page_goes_all_the_way(tmp_path: Path) -> None:
    repository, folder = tmp_path / "repository", tmp_path / "run"
    copy_code(repository)
    line, package = BLOCKS.pop("families.py"), repository / "scripts/feseq"
    registry = package / "families.py"
    registry.write_text(registry.read_text().replace("FAMILIES = {\n", "FAMILIES = {\n" + line))
    for path, code in BLOCKS.items():
        (package / path).parent.mkdir(exist_ok=True)
        (package / path).write_text(code)
    write_inputs(folder)
    config = changed("sizes.toy.submission_models", ["hashed", "hashed-fast"])
    config |= {"submission": {"refit": True}, "hashed": {"bits": 12}, "parts": {"rows": 1000}}
    config |= {"variants": {"fast": {"hashed": {"epochs": 1, "learning_rate": 0.3}}}}
    submission, measured = "results/submission_toy.csv", "results/toy/blend/metrics.json"
    importance = "results/toy/hashed/importance.json"
    targets = [submission, measured, importance, "results/toy/hashed/metrics.json"]
    summary = "results/summary.md"
    code, output = snakemake(folder, *targets, summary, config=config, repository=repository)
    assert code == 0, output
    submitted = pd.read_csv(folder / submission)["bought"]
    assert len(submitted) == TEST_ROWS
    assert submitted.nunique() > TEST_ROWS / 10
    assert "hashed-fast" in (folder / summary).read_text()
    for path in targets[1:]:
        read = json.loads((folder / path).read_text())
        auc = read["auc"] if path == importance else read["metrics"]["auc"]
        assert np.isfinite(auc["value"])
    first, again = (
        json.loads((folder / f"results/toy/hashed/{path}training.json").read_text())
        for path in ("", "refit/")
    )
    assert (first["refit"], again["refit"]) == (False, True)
    assert again["train_rows"] > first["train_rows"]
    assert first["settings"] == {"bits": 12, "learning_rate": 0.1, "epochs": 2}
