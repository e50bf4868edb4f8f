"""The search over settings of boosting: what it finds, when it gives up, how it goes on."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from feseq.boosting.training import train_boosting
from feseq.common.errors import UserError
from feseq.config.boosting import BoostingConfig
from feseq.config.runtime import Runtime
from feseq.config.space import TuneConfig
from feseq.tune import boosting as boosting_module
from feseq.tune.boosting import TunedBoosting
from feseq.tune.search import tune_model
from support.learnable import learnable_table, make

pytestmark = pytest.mark.workflow

BASE = BoostingConfig(trees=12, early_stopping=4, min_child_weight=1, learning_rate=0.5)
SPACE: dict[str, Any] = {
    "boosting.max_depth": {"low": 1, "high": 4},
    "boosting.learning_rate": [0.25, 0.5],
    # For the other family, and left alone.
    "model.dropout": [0.1, 0.2],
}
RUNTIME = Runtime(device="cpu", verbosity=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("planted"), learnable_table(1200))


def tune(data: Path, out: Path, **config: Any) -> list[dict[str, str]]:
    files = (data / "train.h5", data / "valid.h5", data / "feature_map.json")
    own = {"early_stopping": 4}
    tuned = TunedBoosting("boosting-deep", *files, BASE, out / "best.yaml", own)
    settings = {"trials": 5, "workers": 1, "seed": 3, "startup_trials": 2, "space": SPACE}
    tune_model(
        tuned,
        {"best": out / "best.yaml", "trials": out / "trials.csv"},
        size="toy",
        tune_config=TuneConfig(**settings | config),
        runtime=RUNTIME,
        threads=1,
    )
    with open(out / "trials.csv") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row.pop("seconds")) >= 0 for row in rows)
    return rows


def test_the_best_settings_give_the_figure_that_was_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binned = []
    original = boosting_module.bin_rows
    monkeypatch.setattr(
        boosting_module, "bin_rows", lambda *given: binned.append(1) or original(*given)
    )
    rows = tune(data, tmp_path)
    # Rows are binned once, as no trial changes a feature.
    assert len(binned) == 1
    assert {*rows[0]} == {
        *("number", "state", "value", "auc", "logloss", "trees"),
        *("boosting.max_depth", "boosting.learning_rate"),
    }
    done = [row for row in rows if row["state"] == "complete"]
    best = max(done, key=lambda row: float(row["value"]))
    text = (tmp_path / "best.yaml").read_text()
    (name, variant) = next(iter(yaml.safe_load(text)["variants"].items()))
    assert name == "tuned_toy_boosting_deep"
    assert (
        f"results/toy/boosting-{name}/model.safetensors --configfile {tmp_path}/best.yaml" in text
    )
    assert variant == {
        "boosting": {
            "early_stopping": 4,
            "learning_rate": float(best["boosting.learning_rate"]),
            "max_depth": int(best["boosting.max_depth"]),
        }
    }
    outputs = {name: tmp_path / name for name in ("model", "history", "training")}
    files = (data / "train.h5", data / "valid.h5", data / "feature_map.json")
    train_boosting(*files, BASE.model_copy(update=variant["boosting"]), outputs, runtime=RUNTIME)
    training = json.loads(outputs["training"].read_text())
    assert training["valid_logloss"] == -float(best["value"]) == float(best["logloss"])
    assert (training["valid_auc"], training["trees"]) == (float(best["auc"]), int(best["trees"]))
    # Fewer trials are the first ones, more go on from them.
    assert tune(data, tmp_path, trials=3) == rows[:3]
    assert tune(data, tmp_path / "other", trials=3) == rows[:3]
    assert not [path for path in tmp_path.iterdir() if "work" in path.name]


def test_trials_are_compared_where_their_rates_add_up_to_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At rate 0.5 two trees are one step, at 0.25 four."""
    caplog.set_level(logging.INFO)
    losses = iter(
        [[0.5] * 2 + [0.4] * 10, [0.5] * 4 + [0.4] * 8, [0.3] * 2 + [0.6] * 10, [0.6] * 12]
    )
    rates = iter([0.5, 0.25, 0.5, 0.25])

    def fit(binned: Any, config: Any, *given: Any) -> None:
        for tree, loss in enumerate(next(losses), 1):
            given[-1](tree, {"auc": 0.5, "average_precision": 0.5, "logloss": loss})

    monkeypatch.setattr(boosting_module, "fit", fit)
    monkeypatch.setattr(boosting_module, "bin_rows", lambda *_: "rows")
    monkeypatch.setattr(
        boosting_module, "_plain", lambda settings: {"learning_rate": next(rates, 0.25)}
    )
    rows = tune(data, tmp_path, trials=4)
    assert [row["state"] for row in rows[:3]] == ["complete", "complete", "complete"]
    # The best so far counts, so a later rise of the loss is no trial's end.
    assert (rows[3]["state"], rows[3]["value"]) == ("pruned", "-0.6")
    assert "below the median at tree 4 of 12" in caplog.text


def test_a_space_without_settings_of_boosting_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names no setting of this model.*boosting.max_depth"):
        tune(data, tmp_path, space={"model.dropout": [0.1, 0.2]})
    with pytest.raises(UserError, match=r"boosting.monitor cannot be searched"):
        tune(data, tmp_path, space={"boosting.monitor": ["auc", "logloss"]})
