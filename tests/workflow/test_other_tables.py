"""Tables of other shapes, through Snakemake."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from support import SCRIPTS
from support.shop import CONFIG, TEST_ROWS, changed, refused, shop_table, snakemake

pytestmark = pytest.mark.workflow


def test_without_sequences_and_a_test_file_models_are_compared_and_nothing_is_submitted(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    table = shop_table(300, 1).drop(columns="pages")
    table.assign(bought=table["bought"] == 1).to_parquet(tmp_path / "in/log.parquet")
    config = changed("raw.test", None)
    config["columns"]["groups"]["shop"] |= {"sequences": {}, "profile": ["country", "product"]}
    config["evaluation"] = {"baselines": ["logistic_regression", "boosting"]}
    # Without a target, the models that would submit are trained.
    code, output = snakemake(tmp_path, config=config)
    assert code == 0, output
    summary = (tmp_path / "results/summary.md").read_text()
    for model in ("len20", "logistic_regression", "boosting"):
        assert f"| full {model} |" in summary
    for target in ("results/submission_toy.csv", "data/h5/test/part000.h5"):
        assert "raw.test is null" in refused(tmp_path, target, config=config)
    assert "raw.test: null" in refused(tmp_path, "-n", config=CONFIG)


def test_what_is_suggested_for_a_table_of_texts_submits_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, rows in (("log", 300), ("new", TEST_ROWS)):
        table = shop_table(rows, rows)
        pages = [text.split(",") if text else [] for text in table["pages"]]
        table["pages"] = [[f"page {number}" for number in row] for row in pages]
        table["product"] = [f"page {row % 45}" for row in range(rows)]
        if name == "new":
            table = table.drop(columns="bought").assign(visit=[f"v{i}" for i in range(rows)])
        table.to_parquet(tmp_path / f"in/{name}.parquet")
    command = [sys.executable, SCRIPTS / "suggest_columns.py", "--output", "mine.yaml"]
    command += ["--train", "in/log.parquet", "--test", "in/new.parquet"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    found = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert found["columns"]["groups"]["all"]["share_embedding"] == ["pages"]
    target = "results/submission_toy.csv"
    code, output = snakemake(tmp_path, target, config={**CONFIG, **found})
    assert code == 0, output
    submission = pd.read_csv(tmp_path / target)
    assert submission["visit"].tolist() == [f"v{i}" for i in range(TEST_ROWS)]
    assert submission["bought"].nunique() > 20
