"""Baselines: features as a plain loop makes them, and models that learn what was planted."""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from feseq.common.errors import UserError
from feseq.common.parquet import read_table
from feseq.config.names import BASELINES
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.store import H5Table
from feseq.evaluate import baselines
from feseq.evaluate import tabular as features
from feseq.evaluate.baselines import fit_baseline
from feseq.evaluate.tabular import Features
from support.planted import ROWS, make, planted_table
from support.raw_tables import raw_table, split_events, with_roles

TWO_HISTORIES = with_roles(sequences=("events", "actions"), targets=("item", "country"), profile=())


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("planted"), planted_table())


def fit(
    data: Path, out: Path, baseline: str, *, valid: Path | None = None, **options: Any
) -> tuple[pa.Table, dict[str, Any]]:
    """The predictions and what training.json says."""
    fit_baseline(
        baseline,
        data / "train.h5",
        valid or data / "valid.h5",
        data / "feature_map.json",
        out / "valid_predictions.parquet",
        out / "training.json",
        **{"rows_at_most": ROWS} | options,
    )
    predictions = read_table(out / "valid_predictions.parquet", ("row", "label", "logit"))
    return predictions, json.loads((out / "training.json").read_text())


def auc(predictions: pa.Table) -> float:
    return float(roc_auc_score(predictions["label"].to_numpy(), predictions["logit"].to_numpy()))


def described(history: list[int], common: list[int]) -> Iterator[float]:
    """The columns of one history, plainly."""
    yield from (history.count(code) for code in common)
    backwards = history[::-1]
    yield from (1 / (1 + backwards.index(code)) if code in history else 0 for code in common)
    yield from (len(history), len(set(history)))


@pytest.mark.parametrize("threads", [1, 3])
def test_histories_are_described_as_a_plain_loop_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(features, "BLOCK_ROWS", 16)
    monkeypatch.setattr(features, "COMMON_CODES", 5)
    random = np.random.default_rng(0)
    table = raw_table(90, longest=40)
    lengths = [len(split_events(text)) for text in table["events"].to_pylist()]
    assert min(lengths) == 0
    # Skewed, so that no two of the commonest codes are equally common.
    events = [random.geometric(0.2, length).tolist() for length in lengths]
    actions = [(10**15 + random.geometric(0.3, length)).tolist() for length in lengths]
    texts = {
        name: pa.array([",".join(map(str, row)) for row in column])
        for name, column in (("events", events), ("actions", actions))
    }
    table = table.set_column(table.column_names.index("events"), "events", texts["events"])
    table = table.append_column("actions", texts["actions"])
    make(tmp_path, table, columns=TWO_HISTORIES)
    with H5Table(tmp_path / "train.h5") as train:
        made = Features(
            FeatureMap.read(tmp_path / "feature_map.json"), train, train.rows, threads=threads
        )
        found = made.matrix(train, train.rows)
        rows = train.column("row")
    expected = []
    for column in (events, actions):
        in_train = [column[row] for row in rows]
        codes, counts = np.unique(np.concatenate(in_train).astype(np.int64), return_counts=True)
        common = codes[np.argsort(-counts, kind="stable")][:5].tolist()
        expected.append([list(described(history, common)) for history in in_train])
    np.testing.assert_allclose(found[:, -24:], np.concatenate(expected, axis=1), rtol=1e-6)
    assert found.shape == (len(rows), made.width)


def test_a_code_that_training_never_saw_is_none_of_the_common_ones(tmp_path: Path) -> None:
    table = raw_table(20, events=["1,1,2"] * 10 + ["9,9,9,9,1"] * 10, y=[0, 1] * 10)
    make(tmp_path, table, valid_rows=range(10, 20))
    with H5Table(tmp_path / "train.h5") as train, H5Table(tmp_path / "valid.h5") as valid:
        made = Features(FeatureMap.read(tmp_path / "feature_map.json"), train, train.rows)
        history = made.matrix(valid, valid.rows)[:, -2 * features.COMMON_CODES - 2 :]
    common = features.COMMON_CODES
    # Code 1 once and last of all, of code 2 nothing, five events, two codes.
    assert np.flatnonzero(history[0]).tolist() == [0, common, 2 * common, 2 * common + 1]
    assert history[0, [0, common, 2 * common, 2 * common + 1]].tolist() == [1, 1, 5, 2]


def test_rare_categories_beyond_what_trees_tell_apart_are_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "MOST_CATEGORIES", 3)
    countries = ["a"] * 40 + ["b"] * 30 + ["c"] * 6 + ["d"] * 4
    table = raw_table(80, country=countries, item=["x", "y"] * 40, y=[0, 1] * 40)
    make(tmp_path, table, valid_rows=[0, 1])
    with H5Table(tmp_path / "train.h5") as train:
        made = Features(FeatureMap.read(tmp_path / "feature_map.json"), train, train.rows)
        found = made.matrix(train, train.rows)[:, 0]
        names = np.array(countries)[train.column("row")]
    assert "column 'country': the 2 commonest of its 4 categories are told apart" in caplog.text
    assert "12.8 % of the train rows" in caplog.text
    assert "'item'" not in caplog.text
    of = {name: set(found[names == name]) for name in "abcd"}
    assert of["c"] == of["d"]
    assert [len(index) for index in of.values()] == [1, 1, 1, 1]
    assert len(of["a"] | of["b"] | of["c"]) == 3


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_learns_what_was_planted(planted: Path, tmp_path: Path, baseline: str) -> None:
    predictions, training = fit(planted, tmp_path, baseline)
    with H5Table(planted / "valid.h5") as valid:
        assert predictions["row"].to_numpy().tolist() == valid.column("row").tolist()
        assert predictions["label"].to_numpy().tolist() == valid.column("label").tolist()
    assert [str(kind) for kind in predictions.schema.types] == ["int64", "uint8", "float"]
    least, most = (0.5, 0.5) if baseline == "constant" else (0.8, 1)
    assert least <= auc(predictions) <= most
    assert training["train_rows"] + training["valid_rows"] == ROWS
    assert training["device"] == "cpu"
    assert training["simulated_data"] is False
    assert training["samples_per_second"] > 0
    assert training["peak_memory_bytes"] > 2**20


def test_the_constant_is_the_log_odds_of_the_train_click_rate(
    planted: Path, tmp_path: Path
) -> None:
    predictions, _ = fit(planted, tmp_path, "constant")
    with H5Table(planted / "train.h5") as train:
        label = train.column("label")
    clicks = int(label.sum())
    (logit,) = set(predictions["logit"].to_pylist())
    assert logit == pytest.approx(np.log(clicks / (len(label) - clicks)), rel=1e-6)


def test_the_constant_of_no_clicks_is_finite() -> None:
    for label in (np.zeros(9), np.ones(9)):
        model = baselines._Constant()
        model.fit(np.empty((9, 0)), label)
        assert np.isfinite(model.decision_function(np.empty((2, 0)))).all()


def test_the_same_call_gives_the_same_predictions(planted: Path, tmp_path: Path) -> None:
    first, _ = fit(planted, tmp_path, "logistic_regression", threads=2)
    second, _ = fit(planted, tmp_path, "logistic_regression", threads=2)
    assert first.equals(second)


def test_of_too_many_rows_the_first_are_used_and_the_log_says_so(
    planted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predictions, training = fit(planted, tmp_path, "constant", rows_at_most=200)
    with H5Table(planted / "train.h5") as train:
        rate, rows = train.column("label", 0, 200).mean(), train.rows
    assert predictions["logit"][0].as_py() == pytest.approx(np.log(rate / (1 - rate)), rel=1e-6)
    assert training["train_rows"] == 200
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any(f"only the first 200 of {rows:,} train rows" in text for text in warned)


def test_all_rows_are_used_in_silence(
    planted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(planted, tmp_path, "logistic_regression")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_fit_that_does_not_converge_says_so_in_the_log(
    planted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(baselines._LOGISTIC, "max_iter", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(planted, tmp_path, "logistic_regression")
    assert "logistic_regression: lbfgs failed to converge" in caplog.text


def test_files_of_different_draws_are_refused(planted: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", raw_table(90))
    with pytest.raises(UserError, match=r"valid.h5 were not made from the same rows"):
        fit(planted, tmp_path, "constant", valid=other / "valid.h5")
    assert not (tmp_path / "training.json").exists()


def test_mistakes_are_named(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no baseline 'forest', only constant, logistic"):
        fit(planted, tmp_path, "forest")
    with pytest.raises(UserError, match=r"label 0 in all of the first 1 rows.*baseline_rows"):
        fit(make(tmp_path / "few", raw_table(30, y=[0] * 26 + [1] * 4), valid_rows=[0, 29]),
            tmp_path, "constant", rows_at_most=1)  # fmt: skip
