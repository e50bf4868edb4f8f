"""The workflow as its user calls it, to the CSV, on a table that is not Toss's; its refusals."""

import base64
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from support.shop import (
    TEST_ROWS,
    changed,
    copy_code,
    refused,
    snakemake,
    write_inputs,
)
from tossctr.common.files import locked, read_json
from tossctr.common.parquet import SIMULATED_MARK

pytestmark = pytest.mark.workflow


def test_another_table_runs_by_config_alone(finished: tuple[Path, str]) -> None:
    folder, output = finished
    for size in ("toy", "medium", "full"):
        submission = pd.read_csv(folder / f"results/submission_{size}.csv")
        assert list(submission.columns) == ["visit", "bought"]
        assert submission["visit"].tolist() == [f"v-{i:03}" for i in range(TEST_ROWS)]
        assert submission["bought"].between(0, 1).all()
        assert submission["bought"].nunique() > 20
    assert len(list((folder / "results/full/len20/predictions").glob("*.parquet"))) == 2
    assert not list((folder / "results").glob("**/training_state"))
    assert "no CUDA device found: running on the CPU" in output or "device: " in output
    assert "SIMULATED" not in output
    # Its last line says what it submitted.
    assert f"submission_full.csv: {TEST_ROWS} rows" in output.rpartition("100%")[2]
    metrics = json.loads((folder / "results/full/len20/metrics.json").read_text())
    assert metrics["simulated_data"] is False
    assert metrics["best_auc"] is None
    assert set(metrics["slices"]) == {"country", "product", "length of pages"}
    # The log of a job says which Python ran it, and where.
    script = f"train.py in Python {platform.python_version()}, {sys.executable}, on "
    log = (folder / "results/toy/len20/train.log").read_text()
    assert log.startswith(f"{script}{platform.node()}\n")


def test_both_families_submit_together_with_weights_fitted_to_the_validation_rows(
    copied: Path,
) -> None:
    config = changed("sizes.full.submission_models", ["len20", "boosting"])
    config["sizes"]["full"] |= {"submission_weights": "auto", "boosting": {"min_child_weight": 1}}
    before = (copied / "results/full/len20/model.safetensors").stat().st_mtime_ns
    snakemake(copied, "results/submission_full.csv", config=config)
    assert (copied / "results/full/len20/model.safetensors").stat().st_mtime_ns == before
    weights = read_json(copied / "results/full/blend/weights.json")
    assert set(weights) == {"len20", "boosting"}
    assert sum(weights.values()) == pytest.approx(1)
    logits = {
        name: pd.concat(
            pd.read_parquet(copied / f"results/full/{name}/predictions/part00{part}.parquet")
            for part in (0, 1)
        )
        for name in weights
    }
    logit = sum(share * logits[name]["logit"] for name, share in weights.items())
    submission = pd.read_csv(copied / "results/submission_full.csv")
    assert submission["visit"].tolist() == logits["boosting"]["id"].tolist()
    np.testing.assert_allclose(submission["bought"], 1 / (1 + np.exp(-logit)), rtol=1e-4)
    config["boosting"] = {"learning_rate": 0.2}
    output = snakemake(copied, "-n", "results/submission_full.csv", config=config)
    assert "Training boosting on size full" in output
    assert "Training len20" not in output
    assert "Writing the submission of size full" in output


def test_a_training_that_outlived_its_snakemake_keeps_its_log(copied: Path) -> None:
    target = "results/toy/len20/model.safetensors"
    (copied / target).unlink()
    log = copied / "results/toy/len20/train.log"
    before = log.read_text()
    with locked((copied / target).with_name("training_state"), "is training"):
        assert f"process {os.getpid()} on " in refused(copied, target)
        assert "Training len20" in snakemake(copied, "-n", target)
    assert log.read_text() == before
    snakemake(copied, target)


def sample(ids: list[str]) -> str:
    return "visit,bought\n" + "".join(f"{name},0\n" for name in ids)


def test_the_sample_submission_gives_the_order_and_a_wrong_one_is_refused(copied: Path) -> None:
    ids, target = [f"v-{i:03}" for i in range(TEST_ROWS)], copied / "results/submission_medium.csv"
    config = changed("table.raw.sample_submission", "in/sample.csv")
    before = target.read_bytes()
    (copied / "in/sample.csv").write_text(sample(ids[1:]))
    output = refused(copied, "results/submission_medium.csv", config=config)
    assert "are not in it, such as 'v-000'" in output
    assert "Writing the submission" not in output
    assert target.read_bytes() == before
    (copied / "in/sample.csv").write_text(sample(ids[::-1]))
    snakemake(copied, "results/submission_medium.csv", config=config)
    header, *lines = before.splitlines()
    assert target.read_bytes().splitlines() == [header, *lines[::-1]]


def bad_token(folder: Path) -> None:
    table = pd.read_parquet(folder / NEW)
    table.loc[33, "pages"] = "4,x 7,1"
    table.to_parquet(folder / NEW)


LOG, NEW = "in/log.parquet", "in/new.parquet"
TARGET = "results/submission_toy.csv"
TRAIN_H5, TEST_H5 = "data/h5/toy/train/part000.h5", "data/h5/test/part000.h5"


@pytest.mark.parametrize(
    ("spoil", "target", "message"),
    [
        (lambda folder: (folder / LOG).unlink(), TRAIN_H5, "missing: in/log.parquet"),
        (bad_token, TEST_H5, "column 'pages', row 33: token 'x 7' is not"),
    ],
    ids=["before any job", "in a conversion"],
)
def test_bad_input_gives_one_clear_error_and_no_output(
    spoil: Callable[[Path], None], target: str, message: str, tmp_path: Path
) -> None:
    write_inputs(tmp_path)
    spoil(tmp_path)
    assert message in refused(tmp_path, target)
    files = (tmp_path / "data").rglob("*")
    made = [p.name for p in files if p.suffix in (".h5", ".json", ".part")]
    assert made == (["parts.json"] if target == TEST_H5 else [])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("results/toy/len300/model.safetensors", "sizes.toy.max_len is [5, 20]"),
        ("results/submission_fulll.csv", "there is no size 'fulll'"),
    ],
)
def test_targets_that_cannot_be_are_refused(tmp_path: Path, target: str, message: str) -> None:
    write_inputs(tmp_path)
    assert message in refused(tmp_path, "-n", target)


def test_the_summary_asks_for_no_size_that_the_call_does_not_name(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    calls = {"medium": ["results/submission_medium.csv", "./results/summary.md"], "full": []}
    for size, targets in calls.items():
        output = snakemake(tmp_path, "-n", *targets)
        assert set(re.findall(r"^Job .* size (\w+)", output, re.M)) == {size}
        assert "Training boosting-plain on size" in output
        assert f"Training len20 on size {size}" in output
    assert "results/submission_medium.csv" in refused(tmp_path, "-n", "results/summary.md")


def test_real_results_stay_where_the_raw_files_are_gone(copied: Path) -> None:
    def checksums() -> dict[str, str]:
        files = [p for top in ("data", "results") for p in (copied / top).rglob("*") if p.is_file()]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = checksums()
    (copied / "in").rename(copied / "unmounted")
    with_stand_in = changed("table.simulation", {})
    for source in ("auto", "simulated"):
        config = changed("table.raw.source", source, with_stand_in)
        output = refused(copied, TARGET, config=config)
        assert re.search(r"\d+ files such as results/.* were made from real data: nothing", output)
        assert "SIMULATED" not in output
    assert checksums() == before


def test_a_simulated_file_beside_a_real_one_stops_before_anything_runs(copied: Path) -> None:
    table = pq.read_table(copied / LOG)
    metadata = {**(table.schema.metadata or {}), **SIMULATED_MARK}
    pq.write_table(table.replace_schema_metadata(metadata), copied / LOG)
    output = refused(copied, "-n", TARGET)
    assert "in/log.parquet was written by the simulation and in/new.parquet was not" in output


def test_predictions_of_other_code_that_snakemake_lost_sight_of_are_not_submitted(
    copied: Path, tmp_path: Path
) -> None:
    # As after a kill between the end of a job and Snakemake's note of it.
    part = "results/medium/len20/predictions/part001.parquet"
    (copied / ".snakemake/metadata" / base64.b64encode(part.encode()).decode()).unlink()
    repository = tmp_path / "code"
    copy_code(repository)
    script = repository / "scripts/predict.py"
    text = script.read_text().replace("run_script(", "done = run_script(")
    assert text != script.read_text()
    script.write_text(text)
    medium = (copied, "results/submission_medium.csv")
    output = refused(*medium, repository=repository)
    assert f"{part}: not predicted by the code as it is now" in output
    (copied / part).unlink()
    snakemake(*medium, repository=repository)
    assert (copied / "results/submission_medium.csv").exists()
