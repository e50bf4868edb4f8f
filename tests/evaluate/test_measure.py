"""The file of metrics against plain computations from the rows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from feseq.common.errors import UserError
from feseq.common.files import read_json
from feseq.common.logits import sigmoid
from feseq.common.parquet import write_table
from feseq.dataset.store import H5Table
from feseq.evaluate.blend import blend_predictions
from feseq.evaluate.measure import measure_predictions, write_metrics
from feseq.evaluate.metrics import BY_NAME
from support.predictions import put_predictions
from support.raw_tables import raw_table, to_train_h5, with_roles


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """valid.h5 of 300 rows, predictions.parquet for it, and truth.parquet."""
    table = raw_table(1200, seed=5)
    _, valid = to_train_h5(tmp_path, table)
    with H5Table(valid) as h5:
        row, label = h5.column("row"), h5.column("label")
    logit = np.random.default_rng(3).normal(size=len(row)).astype(np.float32) + label
    path = tmp_path / "predictions.parquet"
    put_predictions(path, label, logit, 0.25, row=row, logit_blanked=-logit)
    truth = np.linspace(0, 1, len(table))
    columns = {"probability": truth, "probability_of_new_user": np.sqrt(truth)}
    write_table(pa.table(columns), tmp_path / "truth.parquet")
    return tmp_path


def measured(data: Path, **options: Any) -> dict[str, Any]:
    given = {"resamples": 20} | options
    return measure_predictions(data / "predictions.parquet", data / "valid.h5", None, **given)


def test_the_file_of_metrics_says_what_the_predictions_give(data: Path) -> None:
    write_metrics(
        data / "predictions.parquet",
        [data / "valid.h5"],
        data / "metrics.json",
        truth=data / "truth.parquet",
    )
    found = read_json(data / "metrics.json")
    rows = pd.read_parquet(data / "predictions.parquet")
    label, logit = rows["label"], rows["logit"].astype(float)
    auc = roc_auc_score(label, logit)
    assert (found["rows"], found["clicks"]) == (len(rows), label.sum())
    assert set(found["metrics"]) == set(BY_NAME)
    for name, value in {
        "auc": auc,
        "average_precision": average_precision_score(label, logit),
        "logloss": log_loss(label, sigmoid(logit)),
        # A quarter of the train rows are clicks.
        "balanced_logloss": log_loss(label, sigmoid(logit + math.log(3))),
    }.items():
        entry = found["metrics"][name]
        assert entry["value"] == pytest.approx(value, abs=1e-6), name
        assert entry["low"] < entry["value"] < entry["high"], name
    assert found["auc_blanked"] == pytest.approx(1 - auc)
    raw = pd.read_parquet(data / "train.parquet").iloc[rows["row"]].reset_index()
    truth = pd.read_parquet(data / "truth.parquet")["probability"].to_numpy()[rows["row"]]
    # By the true probabilities, pairs of rows instead of labels: nothing beats them.
    for name, score in (
        ("expected_auc", rows["logit"].to_numpy()),
        ("best_auc", truth),
        ("best_auc_of_new_users", np.sqrt(truth)),
    ):
        won = (score[:, None] > score) + (score[:, None] == score) / 2
        pairs = truth[:, None] * (1 - truth)
        assert found[name] == pytest.approx((won * pairs).sum() / pairs.sum()), name
    assert found["best_auc_of_new_users"] == pytest.approx(found["best_auc"])
    assert 0 < found["share_of_best"] < 1
    assert found["histories"]["value"] == pytest.approx(2 * auc - 1)
    assert found["histories"]["chance"] < 0.001
    score, balanced = (found["metrics"][f"{odds}score"]["value"] for odds in ("", "balanced_"))
    gain = balanced - score
    assert found["score_gain"]["low"] < gain < found["score_gain"]["high"]
    assert found["score_gain"]["value"] == pytest.approx(gain)
    by_country = {of["slice"]: of for of in found["slices"]["country"]}
    for name, part in rows.groupby(
        raw["country"].fillna("(missing)").replace("", "(empty)").to_numpy()
    ):
        of = by_country[name]
        assert (of["rows"], of["clicks"]) == (len(part), part["label"].sum())
        if part["label"].nunique() > 1:
            assert of["auc"]["value"] == pytest.approx(roc_auc_score(part["label"], part["logit"]))
        else:
            assert (of["auc"], of["apart"]) == (None, None)


def test_slices_stand_by_their_numbers_then_by_their_names_missing_last(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    country = random.choice(["10", "9", "2.5", "b", "(missing)", "nan", None], 240).tolist()
    _, valid = to_train_h5(tmp_path, raw_table(240, country=country))
    with H5Table(valid) as h5:
        row, label = h5.column("row"), h5.column("label")
    logit = random.normal(size=len(row))
    put_predictions(tmp_path / "predictions.parquet", label, logit, row=row)
    found = [of["slice"] for of in measured(tmp_path, resamples=0)["slices"]["country"]]
    assert found == ["2.5", "9", "10", "(missing)", "b", "nan", "(missing)'"]


def test_a_column_called_like_the_slices_of_histories_keeps_its_own(tmp_path: Path) -> None:
    name = "length of events"
    columns = with_roles(context=(name,))
    table = raw_table(240).append_column(name, pa.array(["long", "short"] * 120))
    _, valid = to_train_h5(tmp_path, table, columns=columns)
    with H5Table(valid) as h5:
        row, label = h5.column("row"), h5.column("label")
    put_predictions(tmp_path / "predictions.parquet", label, label * 1.0, row=row)
    slices = measured(tmp_path, resamples=0)["slices"]
    assert {of["slice"] for of in slices[name]} == {"long", "short"}
    assert f"{name}'" in slices


def test_histories_are_sliced_by_their_length(data: Path) -> None:
    rows = pd.read_parquet(data / "predictions.parquet")["row"]
    events = pd.read_parquet(data / "train.parquet")["events"].iloc[rows]
    lengths = [len(text.split(",")) if text else 0 for text in events.fillna("")]
    found = {of["slice"]: of["rows"] for of in measured(data)["slices"]["length of events"]}
    assert found == {
        "0": sum(n == 0 for n in lengths),
        "1-9": sum(1 <= n <= 9 for n in lengths),
        "10-19": sum(10 <= n <= 19 for n in lengths),
    }


def blend(paths: list[Path], weights: dict[str, float], blended: Path) -> None:
    files = (blended, blended.with_name("weights.json"), blended.with_name("training.json"))
    blend_predictions(paths, weights, *files, by="logloss", prior="observed")


def test_predictions_of_other_rows_or_another_model_are_refused(data: Path) -> None:
    table = pq.read_table(data / "predictions.parquet")
    named = {"click_rate": "0.25", "full_name": "toy/len5"}
    write_table(table, data / "predictions.parquet", named)
    assert measured(data, full_name="toy/len5")["full_name"] == "toy/len5"
    (data / "toy/len9").mkdir(parents=True)
    write_table(table, data / "toy/len9/valid_predictions.parquet", named)
    refusals = {
        "not for toy/boosting": lambda: measured(data, full_name="toy/boosting"),
        "not for toy/len9": lambda: blend(
            [data / "toy/len9/valid_predictions.parquet"], {"len9": 1}, data / "blend.parquet"
        ),
    }
    for text, call in refusals.items():
        with pytest.raises(UserError, match=text):
            call()
    write_table(table[::-1], data / "predictions.parquet", named)
    with pytest.raises(UserError, match=r"predictions.parquet: .* rows"):
        measured(data)


def test_a_blend_is_the_mean_of_its_logits(data: Path) -> None:
    plain = pd.read_parquet(data / "predictions.parquet")
    paths = [data / name / "p.parquet" for name in "ab"]
    for path, factor in zip(paths, (1, -3)):
        path.parent.mkdir()
        other = plain.assign(logit=plain["logit"] * np.float32(factor))
        write_table(pa.Table.from_pandas(other), path, {"click_rate": "0.25"})
    blended = data / "blend.parquet"
    blend(paths, {"b": 0.25, "a": 0.75}, blended)
    found = pd.read_parquet(blended)
    np.testing.assert_allclose(found["logit"], 0 * plain["logit"], atol=1e-6)
    measured = measure_predictions(blended, data / "valid.h5", None, resamples=0)
    assert measured["ahead_of"] == "a"
    best, both = (roc_auc_score(plain["label"], found[name]) for name in ("logit_best", "logit"))
    assert measured["ahead"]["auc"]["value"] == pytest.approx(both - best)
    write_table(pa.Table.from_pandas(plain[::-1]), paths[1], {"click_rate": "0.25"})
    with pytest.raises(UserError, match=r"b/p.parquet: has other rows"):
        blend(paths, {"a": 1, "b": 1}, blended)
