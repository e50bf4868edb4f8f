"""New rows scored from parquet; test_options.py compares all options with submissions."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.jobs import run_job
from support.learnable import learnable_table, make
from support.networks import WHOLE, random_model
from support.raw_tables import COLUMNS, with_columns, write_raw
from support.shop import CONFIG, TEST_ROWS, refused, snakemake
from tossctr.catalog.loading import load_model
from tossctr.common.errors import UserError
from tossctr.common.files import read_json, write_json
from tossctr.config.declared import Runtime
from tossctr.config.names import Prior
from tossctr.evaluate.measurement import measure_scores, write_metrics
from tossctr.predict.blend import Blend
from tossctr.predict.model_predictions import predict_validation
from tossctr.predict.scoring import score_files

RUNTIME = Runtime(device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("learnable"), learnable_table(300))
    settings = {"boosting": {"trees": 5, "min_child_weight": 1}}
    return run_job(folder, folder, settings)["model"]


def score(model: Path, inputs: list[Path], out: Path, **options: Any) -> pd.DataFrame:
    options = {"id_column": "uid", "runtime": RUNTIME, "threads": 2} | options
    score_files([model], list(map(str, inputs)), out, **options)
    return pd.read_parquet(out)


def test_scores_do_not_depend_on_parts_files_and_other_columns(model: Path, tmp_path: Path) -> None:
    table = learnable_table(100, seed=6)
    whole = score(model, [write_raw(tmp_path, table, "whole")], tmp_path / "whole_scores.parquet")
    assert whole["uid"].tolist() == table["uid"].to_pylist()
    assert whole["probability"].nunique() > 10
    # Categories are numbered by their first occurrence, so other parts number them otherwise.
    without = table.drop_columns(["y", "unused"])
    inputs = [write_raw(tmp_path, without[:33], "a"), write_raw(tmp_path, without[33:], "b")]
    pd.testing.assert_frame_equal(
        score(model, inputs, tmp_path / "out.parquet", part_rows=20), whole
    )
    numbered = score(model, inputs, tmp_path / "out.parquet", part_rows=20, id_column=None)
    assert numbered["row"].tolist() == [str(row) for row in range(1, 101)]
    assert numbered["probability"].tolist() == whole["probability"].tolist()


@pytest.mark.parametrize("prior", get_args(Prior))
def test_a_labelled_file_has_the_metrics_of_the_same_rows_in_validation(
    model: Path, tmp_path: Path, prior: Prior
) -> None:
    folder, predictions = model.parent, tmp_path / "predictions.parquet"
    valid = folder / "valid.h5"
    predict_validation(model, [valid], predictions, runtime=RUNTIME)
    scores, metrics = tmp_path / "scores.parquet", tmp_path / "metrics.json"
    write_metrics(predictions, [valid], metrics)
    expected = read_json(metrics)
    rows = pq.read_table(folder / "train.parquet").take(pq.read_table(predictions)["row"])
    inputs = [write_raw(tmp_path, rows[:20], "a"), write_raw(tmp_path, rows[20:], "b")]
    score(model, inputs, scores, prior=prior)
    measure_scores(scores, list(map(str, inputs)), COLUMNS, metrics)
    measured = read_json(metrics)
    assert (measured["rows"], measured["clicks"]) == (expected["rows"], expected["clicks"])
    for name, entry in expected["metrics"].items():
        assert measured["metrics"][name]["value"] == pytest.approx(entry["value"], rel=1e-4), name
    for column, slices in expected["slices"].items():
        for one, other in zip(measured["slices"][column], slices, strict=True):
            assert all(one[key] == other[key] for key in ("slice", "rows", "clicks"))


def test_a_blend_in_memory_gives_rows_the_scores_of_their_file(model: Path, tmp_path: Path) -> None:
    boosted, network = load_model(model), tmp_path / "network.safetensors"
    about = replace(boosted.about, settings={}, id_column="uid")
    trained = random_model(WHOLE, about.feature_map)
    replace(trained, about=replace(about, settings=trained.about.settings)).save(network)
    models, weights, table = [network, model], [0.3, 0.7], learnable_table(60, seed=8)
    new, out = str(write_raw(tmp_path, table, "new")), tmp_path / "out.parquet"
    # The first model knows the ID's name.
    score_files(models, [new], out, weights=weights, prior="balanced", runtime=RUNTIME)
    expected = pd.read_parquet(out)["probability"].to_numpy()
    assert expected.std() > 0.1
    blend = Blend.load(models, weights)
    for given in (table, table.to_pandas(), rows := table.to_pylist()):
        np.testing.assert_allclose(blend.score(given, "balanced"), expected, 0, 1e-6)
    np.testing.assert_allclose(blend.score(rows[7], "balanced"), expected[7:8], 0, 1e-6)
    assert blend.logits(table[:0]).shape == (0,)
    assert len(str(blend.about)) < 800
    with pytest.raises(UserError, match="balnced"):
        blend.score(rows, "balnced")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the rows: column 'price'"):
        blend.score({**rows[0], "price": "cheap"})


TABLE = learnable_table(20, seed=7)


def test_a_file_is_scored_once(model: Path, tmp_path: Path) -> None:
    new = write_raw(tmp_path, TABLE, "new")
    with pytest.raises(UserError, match=r"is named twice, first as .*new.parquet"):
        score(model, [new, tmp_path / "n*"], tmp_path / "out.parquet")
    with pytest.raises(UserError, match="is also an input"):
        score(model, [new], new)
    assert pq.read_table(new).equals(TABLE)


def test_fitted_weights_are_of_the_models_that_the_files_hold(model: Path, tmp_path: Path) -> None:
    new, weights = write_raw(tmp_path, TABLE, "new"), tmp_path / "weights.json"
    copy = Path(shutil.copy(model, tmp_path / "copy.safetensors"))
    name = load_model(model, runtime=RUNTIME).about.full_name.rpartition("/")[2]
    write_json(weights, {name: 0.5})
    plain = score(model, [new], tmp_path / "plain_scores.parquet")
    scores = score(copy, [new], tmp_path / "out.parquet", fitted=weights)
    pd.testing.assert_frame_equal(scores, plain)
    write_json(weights, {"other": 0.5})
    with pytest.raises(UserError, match=rf"weights.json: .* other, .* the models are {name};"):
        score(copy, [new], tmp_path / "out.parquet", fitted=weights)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (TABLE.drop_columns(["price"]), {}, "there is no column 'price'; .*--id_column"),
        (TABLE.drop_columns(["uid"]), {}, "no column 'uid'; .*--id_column"),
        (TABLE[:0], {}, "new.parquet: there are no rows"),
        (with_columns(TABLE, price=["cheap"] * 20), {}, "'price' .* string and cannot be numeric"),
        (with_columns(TABLE, events=["1, x"] * 20), {}, "'events'.*row 1 .1-based."),
        (TABLE, {"weights": [1.0, 2.0]}, r"weights \[1.0, 2.0\] for the models .*; give one"),
        (TABLE, {"weights": [-1.0]}, r"weights \[-1.0\].* none below 0"),
        (TABLE, {"weights": [float("nan")]}, r"weights \[nan\]"),
        (
            TABLE.replace_schema_metadata({"feseq": "simulated"}),
            {},
            "new.parquet has simulated data, but the model was trained on real data",
        ),
    ],
)
def test_what_cannot_be_scored_is_a_clear_error_and_leaves_no_file(
    model: Path, tmp_path: Path, table: pa.Table, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        score(model, [write_raw(tmp_path, table, "new")], tmp_path / "out.parquet", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["new.parquet"]


@pytest.mark.workflow
def test_the_workflow_scores_named_files_like_its_submission(copied: Path) -> None:
    new = pd.read_parquet(copied / "in/new.parquet")
    labelled = new.assign(bought=[0, 1] * (TEST_ROWS // 2))
    labelled.to_parquet(copied / "in/labelled.parquet")
    config = CONFIG | {"scores": {"again": ["in/new.parquet", "in/labelled.parquet"]}}
    config["scores"]["known"] = "in/labelled.parquet"
    target, known = "results/scores/toy/again.parquet", "results/scores/toy/known.metrics.json"
    snakemake(copied, target, known, config=config)
    scores = pd.read_parquet(copied / target)
    submitted = pd.read_csv(copied / "results/submission_toy.csv")
    assert scores["visit"].tolist() == 2 * submitted["visit"].tolist()
    assert scores["probability"].tolist() == 2 * np.float32(submitted["bought"]).tolist()
    model = load_model(copied / "results/toy/len20/model.safetensors", runtime=RUNTIME)
    assert model.about.id_column == "visit"
    metrics = read_json(copied / known)
    assert (metrics["rows"], metrics["clicks"]) == (TEST_ROWS, TEST_ROWS // 2)
    output = refused(copied, "results/scores/agian.parquet", config=config)
    assert "`scores` has no entry 'agian'; entries: again, known" in output
    # A file that cannot be scored is refused before the scores of before are removed.
    labelled.drop(columns="price").to_parquet(copied / "in/labelled.parquet")
    assert "there is no column 'price'" in refused(copied, target, config=config)
    pd.testing.assert_frame_equal(pd.read_parquet(copied / target), scores)
