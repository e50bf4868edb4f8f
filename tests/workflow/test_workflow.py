"""The workflow as its user calls it, to the CSV, on a table that is not Toss's; its refusals."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from support.shop import TEST_ROWS, changed, copy_code, forget, refused, snakemake, write_inputs
from tossctr.common.files import read_json
from tossctr.common.parquet import SIMULATED_MARK

pytestmark = pytest.mark.workflow


LOG, NEW, SAMPLE = "in/log.parquet", "in/new.parquet", "in/sample.csv"
TARGET, FULL = "results/submission_toy.csv", "results/submission_full.csv"
IDS = [f"v-{i:03}" for i in range(TEST_ROWS)]


def test_another_table_runs_by_config_alone(finished: tuple[Path, str]) -> None:
    folder, output = finished
    for size in ("toy", "full"):
        submission = pd.read_csv(folder / f"results/submission_{size}.csv")
        assert list(submission.columns) == ["visit", "bought"]
        assert submission["visit"].tolist() == IDS
        assert submission["bought"].between(0, 1).all()
        assert submission["bought"].nunique() > 20
    assert not list((folder / "results").glob("**/training_state"))
    assert "SIMULATED" not in output
    # Its last line says what it submitted.
    assert f"submission_full.csv: {TEST_ROWS} rows" in output.rpartition("100%")[2]
    metrics = read_json(folder / "results/full/len20/metrics.json")
    assert metrics["simulated_data"] is False
    assert metrics["best_auc"] is None
    assert set(metrics["slices"]) == {"country", "product", "length of pages"}


def give_sample(folder: Path, ids: list[str]) -> dict[str, Any]:
    """Write a sample submission of these IDs; the config that names it."""
    (folder / SAMPLE).write_text("".join(f"{line}\n" for line in ["visit", *ids]))
    return changed("table.raw.sample_submission", SAMPLE)


def test_both_kinds_of_model_refit_and_submit_together_with_fitted_weights_in_the_sample_s_order(
    copied: Path,
) -> None:
    config = give_sample(copied, IDS[::-1])
    config["submission"]["refit"] = True
    config["sizes"]["full"] |= {"submission_models": ["len20", "boosting"]}
    config["sizes"]["full"] |= {"submission_weights": "auto", "boosting": {"min_child_weight": 1}}
    before = (copied / "results/full/len20/model.safetensors").stat().st_mtime_ns
    snakemake(copied, FULL, config=config)
    assert (copied / "results/full/len20/model.safetensors").stat().st_mtime_ns == before
    folder = copied / "results/full/len20"
    first, refit = (read_json(folder / f"{place}training.json") for place in ("", "refit/"))
    assert (first["refit"], refit["refit"]) == (False, True)
    assert refit["train_rows"] == 2 * first["valid_rows"]
    assert refit["valid_auc"] == first["valid_auc"]
    weights = read_json(copied / "results/full/blend/weights.json")
    assert set(weights) == {"len20", "boosting"}
    assert sum(weights.values()) == pytest.approx(1)
    logit = 0.0
    for name, share in weights.items():
        part = copied / f"results/full/{name}/predictions/part000.parquet"
        logit += share * pd.read_parquet(part).set_index("id")["logit"]
    submission = pd.read_csv(copied / FULL)
    assert submission["visit"].tolist() == IDS[::-1]
    np.testing.assert_allclose(submission["bought"], 1 / (1 + np.exp(-logit[IDS[::-1]])), rtol=1e-4)
    config["boosting"] = {"learning_rate": 0.2}
    output = snakemake(copied, "-n", FULL, config=config)
    assert "Training boosting on size full" in output
    assert "Training len20" not in output
    assert "Writing the submission of size full" in output


def test_another_sample_rewrites_the_submission_and_a_wrong_one_is_refused(copied: Path) -> None:
    # Given later, then reordered in place.
    for ids in (IDS[::-1], IDS):
        header, *lines = (copied / FULL).read_text().splitlines()
        snakemake(copied, FULL, config=give_sample(copied, ids))
        assert (copied / FULL).read_text().splitlines() == [header, *lines[::-1]]
    before = (copied / FULL).read_bytes()
    output = refused(copied, FULL, config=give_sample(copied, IDS[1:]))
    assert "such as 'v-000'" in output
    assert "Writing the submission" not in output
    assert (copied / FULL).read_bytes() == before


def test_a_bad_token_gives_one_clear_error_and_no_output(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    table = pd.read_parquet(tmp_path / NEW)
    table.loc[33, "pages"] = "4,x 7,1"
    table.to_parquet(tmp_path / NEW)
    output = refused(tmp_path, "data/h5/test/part000.h5")
    said = "row 34 (1-based): token 'x 7'"
    # Once when it happens, and again below Snakemake's own messages.
    assert output.index(said) < output.index("Exiting because") < output.rindex(said)
    files = (tmp_path / "data").rglob("*")
    assert [p.name for p in files if p.suffix in (".h5", ".json", ".part")] == ["parts.json"]


def mark_as_simulated(path: Path) -> None:
    table = pq.read_table(path)
    metadata = {**(table.schema.metadata or {}), **SIMULATED_MARK}
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.parametrize(
    ("spoil", "target", "message"),
    [
        (Path.unlink, "data/h5/toy/train/part000.h5", "missing: in/log.parquet"),
        (mark_as_simulated, TARGET, f"{LOG} is simulated and {NEW} is not"),
        (Path.touch, "results/submission_fulll.csv", "no size 'fulll' in the config"),
        (Path.touch, "results/summary.md", "results/submission_medium.csv"),
    ],
)
def test_what_cannot_be_is_refused_before_any_job(
    spoil: Callable[[Path], None], target: str, message: str, tmp_path: Path
) -> None:
    write_inputs(tmp_path)
    spoil(tmp_path / LOG)
    assert message in refused(tmp_path, "-n", target)


def test_the_summary_asks_for_no_size_that_the_call_does_not_name(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    calls = {"medium": ["results/submission_medium.csv", "./results/summary.md"], "full": []}
    for size, targets in calls.items():
        output = snakemake(tmp_path, "-n", *targets)
        assert set(re.findall(r"^Job .* size (\w+)", output, re.M)) == {size}
        assert f"Fitting logistic_regression on size {size}" in output
        assert f"Training len20 on size {size}" in output


def test_real_results_stay_where_the_raw_files_are_gone(copied: Path) -> None:
    before = (copied / TARGET).read_bytes()
    (copied / "in").rename(copied / "unmounted")
    with_stand_in = changed("table.simulation", {})
    for source in ("auto", "simulated"):
        config = changed("table.raw.source", source, with_stand_in)
        output = refused(copied, TARGET, config=config)
        assert "overwrite results of real data, such as results/" in output
        assert "SIMULATED" not in output
    assert (copied / TARGET).read_bytes() == before


def test_predictions_of_other_code_that_snakemake_lost_sight_of_are_not_submitted(
    copied: Path, tmp_path: Path
) -> None:
    # As after a kill between the end of a job and Snakemake's note of it.
    part = "results/toy/len20/predictions/part000.parquet"
    forget(copied, part)
    repository = tmp_path / "code"
    copy_code(repository)
    script = repository / "scripts/predict.py"
    text = script.read_text().replace("run_script(", "done = run_script(")
    assert text != script.read_text()
    script.write_text(text)
    output = refused(copied, TARGET, repository=repository)
    assert f"{part}: these predictions are not from the current code" in output
