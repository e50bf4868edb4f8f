"""Tables of other shapes, through Snakemake."""

from pathlib import Path

import pytest

from support.shop import CONFIG, changed, refused, shop_table, snakemake

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
