"""docs/own-model.md: its kind, written into a copy of the workflow as the page says."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support import REPOSITORY
from support.shop import TEST_ROWS, changed, copy_code, snakemake, write_inputs
from tossctr.common.files import read_json
from tossctr.datasets.opening import open_table

pytestmark = pytest.mark.workflow

PAGE = (REPOSITORY / "docs/own-model.md").read_text()
# By the file of the package that each begins with.
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.S))


def test_the_family_of_the_page_goes_all_the_way(tmp_path: Path) -> None:
    repository, folder = tmp_path / "repository", tmp_path / "run"
    copy_code(repository)
    lines, package = BLOCKS.pop("catalog/model_kinds.py"), repository / "scripts/tossctr"
    registry = package / "catalog/model_kinds.py"
    text, count = re.subn(r"^MODEL_KINDS = .*\n", lines, registry.read_text(), flags=re.M)
    assert count == 1
    registry.write_text(text)
    for path, code in BLOCKS.items():
        (package / path).parent.mkdir(exist_ok=True)
        (package / path).write_text(code)
    write_inputs(folder)
    config = changed("sizes.toy.submission_models", ["hashed", "len20"])
    config["evaluation"] = {"baselines": ["hashed-fast"]}
    config["sizes"]["toy"]["submission_weights"] = [0.75, 0.25]
    config |= {"submission": {"refit": True}, "hashed": {"bits": 12}, "parts": {"rows": 1000}}
    config |= {"variants": {"fast": {"hashed": {"epochs": 1, "learning_rate": 0.3}}}}
    # The rows of the highest ages validate.
    config["table"]["columns"]["time"] = "age"
    config |= {"sampling": {"split": "newest", "valid_share": 0.25}}
    results = {
        name: f"results/toy/{name}.json"
        for name in ("blend/metrics", "hashed/metrics", "hashed/importance")
    }
    targets = ["results/submission_toy.csv", "results/summary.md", *results.values()]
    snakemake(folder, *targets, config=config, repository=repository)
    submitted = pd.read_csv(folder / targets[0])["bought"]
    assert submitted.nunique() > TEST_ROWS / 10
    toy, logit = folder / "results/toy", 0.0
    for name, weight in read_json(toy / "blend/weights.json").items():
        part = toy / f"{name}/predictions/part000.parquet"
        logit += weight * pd.read_parquet(part)["logit"]
    np.testing.assert_allclose(submitted, 1 / (1 + np.exp(-logit)), rtol=1e-4)
    assert "hashed-fast" in (folder / targets[1]).read_text()
    contents = {name: read_json(folder / path) for name, path in results.items()}
    for read in contents.values():
        assert np.isfinite(read.get("metrics", read)["auc"]["value"])
    rows = []
    for side in ("train", "valid"):
        with open_table(sorted((folder / "data/h5/toy" / side).glob("*.h5"))) as table:
            rows.append({*table.column("row").tolist()})
    assert sum(map(len, rows)) == len(set.union(*rows)) == 100
    assert len(rows[1]) == contents["hashed/metrics"]["rows"]
    fits = {
        name: [read_json(toy / f"{name}{fit}/training.json") for fit in ("", "/refit")]
        for name in ("hashed", "len20")
    }
    for first, again in fits.values():
        assert (first["refit"], again["refit"]) == (False, True)
    first, again = fits["hashed"]
    assert first["settings"] == {"bits": 12, "learning_rate": 0.1, "epochs": 2}
    assert again["train_rows"] > first["train_rows"]
    first, again = fits["len20"]
    held_out = len(rows[1])
    assert first["valid_rows"] == held_out
    assert first["train_rows"] + held_out == 100
    assert (again["train_rows"], again["valid_auc"]) == (2 * held_out, first["valid_auc"])
