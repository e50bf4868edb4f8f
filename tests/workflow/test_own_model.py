"""docs/own-model.md: its kind, written into a copy of the workflow as the page says."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support import REPOSITORY
from support.shop import TEST_ROWS, changed, copy_code, snakemake, write_inputs
from tossctr.common.files import read_json

pytestmark = pytest.mark.workflow

PAGE = (REPOSITORY / "docs/own-model.md").read_text()
# By the file of the package that each begins with.
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.S))


def test_the_family_of_the_page_goes_all_the_way(tmp_path: Path) -> None:
    repository, folder = tmp_path / "repository", tmp_path / "run"
    copy_code(repository)
    lines, package = BLOCKS.pop("catalog/model_kinds.py"), repository / "scripts/tossctr"
    module = package / "catalog/model_kinds.py"
    text, count = re.subn(r"^MODEL_KINDS = .*\n", lines, module.read_text(), flags=re.M)
    assert count == 1
    module.write_text(text)
    for path, code in BLOCKS.items():
        (package / path).parent.mkdir(exist_ok=True)
        (package / path).write_text(code)
    write_inputs(folder)
    config = changed("sizes.toy.submission_models", ["hashed-fast"])
    config |= {"submission": {"refit": True}, "hashed": {"bits": 12}, "parts": {"rows": 1000}}
    config |= {"variants": {"fast": {"hashed": {"epochs": 1}}}, "evaluation": {"baselines": []}}
    config["table"]["columns"]["time"] = "age"
    config |= {"sampling": {"split": "newest", "valid_share": 0.25}}
    targets = ["results/submission_toy.csv", "results/summary.md"]
    snakemake(folder, *targets, config=config, repository=repository)
    assert pd.read_csv(folder / targets[0])["bought"].nunique() > TEST_ROWS / 10
    assert "hashed-fast" in (folder / targets[1]).read_text()
    toy = folder / "results/toy/hashed-fast"
    for name in ("metrics", "importance"):
        read = read_json(toy / f"{name}.json")
        assert np.isfinite(read.get("metrics", read)["auc"]["value"])
    first, again = (read_json(toy / f"{fit}training.json") for fit in ("", "refit/"))
    assert (first["refit"], again["refit"]) == (False, True)
    assert first["settings"] == {"bits": 12, "learning_rate": 0.1, "epochs": 1}
    held_out = read_json(toy / "metrics.json")["rows"]
    assert again["train_rows"] == first["train_rows"] + held_out == 100
