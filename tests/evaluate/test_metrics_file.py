"""Figures of predictions against plain computations of their definitions."""

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from feseq.common.errors import UserError
from feseq.common.files import read_json
from feseq.common.logits import sigmoid
from feseq.common.parquet import write_table
from feseq.dataset.store import H5Table
from feseq.evaluate.auc import LEAST_CLICKS
from feseq.evaluate.ensemble import mix_predictions
from feseq.evaluate.intervals import intervals
from feseq.evaluate.metrics import GroupedAuc, Metrics, competition_score
from feseq.evaluate.metrics_file import measure_predictions, write_metrics
from support.raw_tables import raw_table, to_train_h5

NAMES = [
    "auc", "logloss", "average_precision", "weighted_logloss", "score", "calibration_error"
]  # fmt: skip


def plain_figures(label: list[int], logit: list[float]) -> dict[str, float]:
    """AUC, AP and the two loglosses by loops over rows, pairs and thresholds."""
    probability = [1 / (1 + math.exp(-x)) for x in logit]
    loss = [-math.log(p if y else 1 - p) for y, p in zip(label, probability)]
    clicks = [x for y, x in zip(label, logit) if y]
    others = [x for y, x in zip(label, logit) if not y]
    won = sum((c > o) + (c == o) / 2 for c in clicks for o in others)
    precision, found_before = 0.0, 0
    for threshold in sorted(set(logit), reverse=True):
        shown = [y for y, x in zip(label, logit) if x >= threshold]
        precision += sum(shown) / len(shown) * (sum(shown) - found_before) / len(clicks)
        found_before = sum(shown)
    of_clicks = sum(x for x, y in zip(loss, label) if y) / len(clicks)
    of_others = sum(x for x, y in zip(loss, label) if not y) / len(others)
    weighted = (of_clicks + of_others) / 2
    return {
        "auc": won / len(clicks) / len(others),
        "logloss": sum(loss) / len(loss),
        "average_precision": precision,
        "weighted_logloss": weighted,
        "score": 0.5 * precision + 0.5 / (1 + weighted),
    }


# Few values, so that many tie.
ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-12, 12).map(lambda i: i / 2)), min_size=2, max_size=40
).filter(lambda rows: 0 < sum(label for label, _ in rows) < len(rows))


@given(rows=ROWS)
@settings(max_examples=150, deadline=None)
def test_metrics_are_those_of_plain_loops(rows: list[tuple[int, float]]) -> None:
    label, logit = map(list, zip(*rows))
    (found,) = Metrics(np.array(label), np.array(logit)).of(np.ones(len(rows)))
    expected = plain_figures(label, logit)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@given(rows=ROWS, data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_weight_counts_as_so_many_equal_rows(
    rows: list[tuple[int, float]], data: st.DataObject
) -> None:
    label, logit = map(np.array, zip(*rows))
    weight = np.array(
        data.draw(st.lists(st.integers(1, 3), min_size=len(rows), max_size=len(rows)))
    )
    (found,) = Metrics(label, logit).of(weight)
    repeated = Metrics(np.repeat(label, weight), np.repeat(logit, weight))
    (expected,) = repeated.of(np.ones(weight.sum()))
    for name in NAMES[:-1]:  # the bins of the calibration error are those of the rows given
        assert found[name] == pytest.approx(expected[name], abs=1e-9), name


def test_the_score_of_a_worked_example() -> None:
    # Two clicks of five rows; sorted by prediction the clicks come first and third.
    probability = np.array([0.8, 0.5, 0.4, 0.2, 0.1])
    label = np.array([1, 0, 1, 0, 0])
    (found,) = Metrics(label, np.log(probability / (1 - probability))).of(np.ones(5))
    precision = (1 / 1 + 2 / 3) / 2
    of_clicks = -(math.log(0.8) + math.log(0.4)) / 2
    of_others = -(math.log(0.5) + math.log(0.8) + math.log(0.9)) / 3
    assert found["average_precision"] == pytest.approx(precision)
    assert found["weighted_logloss"] == pytest.approx((of_clicks + of_others) / 2)
    # 0.5 * 0.83333 + 0.5 / (1 + 0.45513)
    assert found["score"] == pytest.approx(0.76028, abs=1e-5)
    assert competition_score(1.0, 0.0) == 1


def test_shifted_to_even_odds_the_weighted_logloss_is_at_its_best() -> None:
    random = np.random.default_rng(0)
    probability = sigmoid(random.normal(-4, 1, 200_000))
    label = (random.random(200_000) < probability).astype(int)
    logit = np.log(probability / (1 - probability))
    odds = math.log(label.mean() / (1 - label.mean()))
    shifts = [-odds + step for step in (-0.3, 0, 0.3)]
    found = [of["weighted_logloss"] for of in Metrics(label, logit, shifts).of(np.ones(len(label)))]
    assert found[1] < min(found[0], found[2])


def test_the_calibration_error_is_what_predictions_are_off_by() -> None:
    random = np.random.default_rng(1)
    probability = random.uniform(0.01, 0.2, 400_000)
    label = (random.random(len(probability)) < probability).astype(int)

    def error(predicted: np.ndarray) -> float:
        measures = Metrics(label, np.log(predicted / (1 - predicted)))
        return measures.of(np.ones(len(label)))[0]["calibration_error"]

    assert error(probability) < 0.002
    assert error(probability + 0.03) == pytest.approx(0.03, abs=0.002)
    # All rows tie: one bin, whose mean is right.
    assert error(np.full(len(label), label.mean())) < 1e-9


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3), st.integers(0, 3)),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_auc_by_group_is_that_of_scikit_learn_within_each(rows: list[tuple[int, ...]]) -> None:
    label, score, group, weight = np.array(rows).T
    grouped = GroupedAuc(label, score.astype(float), group)
    auc, total = grouped.by_group(weight)
    parts = []
    for name, found, rows_of in zip(grouped.names, auc, total):
        inside = (group == name) & (weight > 0)
        assert rows_of == weight[inside].sum()
        if len(set(label[inside])) < 2:
            assert math.isnan(found)
        else:
            expected = roc_auc_score(label[inside], score[inside], sample_weight=weight[inside])
            assert found == pytest.approx(expected)
            parts.append((expected, weight[inside].sum()))
    mean = grouped.mean(weight)
    if parts:
        assert mean == pytest.approx(
            np.average([a for a, _ in parts], weights=[n for _, n in parts])
        )
    else:
        assert math.isnan(mean)


def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    """A mean of normal numbers, by resamples."""
    random, held = np.random.default_rng(2), 0
    label = (np.arange(200) % 4 == 0).astype(int)
    for _ in range(60):
        x = random.normal(size=200) + 0.3
        ((_, low, high),) = intervals([lambda w, x=x: np.array([w @ x / w.sum()])], label, 100)
        held += low[0] <= 0.3 <= high[0]
    # 57 of 60 are expected; fewer than 50 would come once in a thousand times at 95 %.
    assert held >= 50


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """valid.h5 of 300 rows, predictions.parquet for it, and truth.parquet."""
    table = raw_table(1200, seed=5)
    _, valid = to_train_h5(tmp_path, table)
    with H5Table(valid) as h5:
        row, label = h5.column("row"), h5.column("label")
    logit = np.random.default_rng(3).normal(size=len(row)).astype(np.float32) + label
    columns = {"row": row, "label": label, "judges": label >= 0}
    columns |= {"logit": logit, "logit_blanked": -logit}
    write_table(pa.table(columns), tmp_path / "predictions.parquet", {"click_rate": "0.25"})
    truth = np.linspace(0, 1, len(table))
    columns = {"probability": truth, "probability_of_new_user": np.sqrt(truth)}
    write_table(pa.table(columns), tmp_path / "truth.parquet")
    return tmp_path


def figures_of(data: Path, **options: Any) -> dict[str, Any]:
    given = {"resamples": 20, "slices": None, "gauc": None} | options
    return measure_predictions(data / "predictions.parquet", data / "valid.h5", None, **given)


def test_the_file_of_metrics_says_what_the_predictions_give(data: Path) -> None:
    write_metrics(
        data / "metrics.json",
        data / "predictions.parquet",
        data / "valid.h5",
        data / "truth.parquet",
        resamples=20,
        slices=["country"],
        gauc="item",
    )
    found = read_json(data / "metrics.json")
    rows = pd.read_parquet(data / "predictions.parquet")
    expected = plain_figures(rows["label"].tolist(), rows["logit"].astype(float).tolist())
    assert (found["rows"], found["clicks"]) == (len(rows), rows["label"].sum())
    for name, value in expected.items():
        interval = found["metrics"][name]
        assert interval["value"] == pytest.approx(value, abs=1e-6)
        assert interval["low"] < interval["value"] < interval["high"], name
    assert found["auc_blanked"] == pytest.approx(1 - expected["auc"])
    shifted = rows["logit"].astype(float) + math.log(3)
    balanced = plain_figures(rows["label"].tolist(), shifted.tolist())
    for name, value in balanced.items():
        assert found["balanced"][name]["value"] == pytest.approx(value, abs=1e-6)
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
    assert found["histories"]["value"] == pytest.approx(2 * expected["auc"] - 1)
    assert found["histories"]["chance"] < 0.001
    gain = found["balanced"]["score"]["value"] - found["metrics"]["score"]["value"]
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
    groups = [part for _, part in rows.groupby(raw["item"].fillna("").to_numpy())]
    known = [
        (roc_auc_score(p["label"], p["logit"]), len(p)) for p in groups if p.label.nunique() > 1
    ]
    gauc = sum(auc * n for auc, n in known) / sum(n for _, n in known)
    assert found["metrics"]["gauc"]["value"] == pytest.approx(gauc)


def test_slices_stand_by_their_numbers_then_by_their_names_missing_last(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    country = random.choice(["10", "9", "2.5", "b", "a", "nan", None], 240).tolist()
    _, valid = to_train_h5(tmp_path, raw_table(240, country=country))
    with H5Table(valid) as h5:
        rows = {name: h5.column(name) for name in ("row", "label")} | {"judges": h5.judges}
    logit = random.normal(size=len(rows["row"])).astype(np.float32)
    write_table(
        pa.table({**rows, "logit": logit}), tmp_path / "predictions.parquet", {"click_rate": "0.2"}
    )
    found = [of["slice"] for of in figures_of(tmp_path, resamples=0)["slices"]["country"]]
    assert found == ["2.5", "9", "10", "a", "b", "nan", "(missing)"]


def test_histories_are_sliced_by_their_length(data: Path) -> None:
    rows = pd.read_parquet(data / "predictions.parquet")["row"]
    events = pd.read_parquet(data / "train.parquet")["events"].iloc[rows]
    lengths = [len(text.split(",")) if text else 0 for text in events.fillna("")]
    found = {of["slice"]: of["rows"] for of in figures_of(data)["slices"]["history_length"]}
    assert found == {
        "0": sum(n == 0 for n in lengths),
        "1-9": sum(1 <= n <= 9 for n in lengths),
        "10-19": sum(10 <= n <= 19 for n in lengths),
    }


def test_the_same_predictions_give_the_same_figures_and_no_resamples_no_intervals(
    data: Path,
) -> None:
    assert figures_of(data) == figures_of(data)
    without = figures_of(data, resamples=0)
    assert json.dumps(without)
    assert without["metrics"]["logloss"]["low"] is None
    assert without["metrics"]["auc"] == figures_of(data)["metrics"]["auc"]


def test_predictions_of_other_rows_are_refused(data: Path) -> None:
    with H5Table(data / "train.h5") as h5:
        rows = {name: h5.column(name) for name in ("row", "label")} | {"judges": h5.judges}
    logit = np.zeros(len(rows["row"]), np.float32)
    write_table(pa.table({**rows, "logit": logit}), data / "predictions.parquet")
    with pytest.raises(UserError, match=r"predictions.parquet: .* rows .*valid.h5"):
        figures_of(data)


def mix(paths: list[Path], weights: dict[str, float], mixed: Path) -> None:
    files = (mixed, mixed.with_name("weights.json"), mixed.with_name("training.json"))
    mix_predictions(paths, weights, *files, by="logloss", prior="observed")


def test_predictions_in_the_place_of_another_model_are_refused(data: Path) -> None:
    table = pq.read_table(data / "predictions.parquet")
    marks = {"click_rate": "0.25", "full_name": "toy/len5"}
    write_table(table, data / "predictions.parquet", marks)
    assert figures_of(data, full_name="toy/len5")["full_name"] == "toy/len5"
    with pytest.raises(UserError, match=r"made for toy/len5, .* place of toy/boosting"):
        figures_of(data, full_name="toy/boosting")
    (data / "toy/len9").mkdir(parents=True)
    path = (data / "predictions.parquet").rename(data / "toy/len9/valid_predictions.parquet")
    with pytest.raises(UserError, match=r"made for toy/len5, .* place of toy/len9"):
        mix([path], {"len9": 1}, data / "mixed.parquet")


def test_an_ensemble_is_the_mean_of_its_logits(data: Path) -> None:
    plain = pd.read_parquet(data / "predictions.parquet")
    for name, factor in (("a", 1), ("b", -3)):
        (data / name).mkdir()
        columns = {n: plain[n] for n in ("row", "label", "judges")}
        columns |= {n: plain[n] * np.float32(factor) for n in ("logit", "logit_blanked")}
        write_table(pa.table(columns), data / name / "p.parquet", {"click_rate": "0.25"})
    paths = [data / name / "p.parquet" for name in "ab"]
    mixed = data / "mixed.parquet"
    mix(paths, {"b": 0.5, "a": 0.5}, mixed)
    found = pd.read_parquet(mixed)
    np.testing.assert_allclose(found["logit"], -plain["logit"], rtol=1e-6)
    np.testing.assert_allclose(found["logit_blanked"], plain["logit"], rtol=1e-6)
    options = {"resamples": 0, "slices": [], "gauc": None}
    measured = measure_predictions(mixed, data / "valid.h5", None, **options)
    factor = {"a": 1, "b": -3}[measured["ahead_of"]]
    np.testing.assert_allclose(found["logit_best"], factor * plain["logit"], rtol=1e-6)
    best, blend = (roc_auc_score(plain["label"], found[name]) for name in ("logit_best", "logit"))
    assert measured["ahead"]["auc"]["value"] == pytest.approx(blend - best)
    other = pa.table({n: plain[n][::-1] for n in plain})
    write_table(other, paths[1], {"click_rate": "0.25"})
    with pytest.raises(UserError, match=r"b/p.parquet: has other rows"):
        mix(paths, {"a": 1, "b": 1}, mixed)


def with_labels(data: Path, clicks: int) -> dict[str, Any]:
    """What is measured of all rows, of which the first are clicks and score higher."""
    with H5Table(data / "valid.h5") as h5:
        rows = h5.column("row")
    path = data / "valid.h5"
    label = (np.arange(len(rows)) < clicks).astype(np.uint8)
    with h5py.File(path, "r+") as file:
        file["label"][:] = label
    logit = np.random.default_rng(0).normal(size=len(rows)) + 2 * label
    columns = {"row": rows, "label": label, "judges": np.ones(len(rows), bool)}
    columns |= {"logit": logit.astype(np.float32), "logit_blanked": -logit.astype(np.float32)}
    write_table(pa.table(columns), data / "predictions.parquet", {"click_rate": "0.1"})
    options = {"resamples": 20, "slices": None, "gauc": None}
    return measure_predictions(
        data / "predictions.parquet", path, data / "truth.parquet", **options
    )


@pytest.mark.parametrize("clicks", [1, LEAST_CLICKS - 1])
def test_few_clicks_have_no_interval_and_tell_nothing_apart(data: Path, clicks: int) -> None:
    found = with_labels(data, clicks)
    assert found["enough_clicks"] is False
    for entry in (*found["metrics"].values(), *found["balanced"].values(), found["score_gain"]):
        assert (entry["low"], entry["high"]) == (None, None)
    assert found["histories"]["chance"] is None
    for of in (of for column in found["slices"].values() for of in column if of["auc"]):
        assert of["auc"]["low"] is of["apart"]["chance"] is None
    # What can be learned is judged without labels.
    assert found["share_of_best"] <= 1


def test_many_clicks_have_intervals(data: Path) -> None:
    found = with_labels(data, LEAST_CLICKS)
    assert found["enough_clicks"] is True
    for entry in (*found["metrics"].values(), found["histories"], found["score_gain"]):
        assert entry["low"] < entry["high"]
    assert found["histories"]["chance"] < 0.001
