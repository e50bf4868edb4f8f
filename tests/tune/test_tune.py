"""A search finds what it says it found, and ends as it would have, however often it is killed."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import yaml

from support.jobs import run_job
from support.learnable import make
from support.raw_tables import raw_table
from support.trainings import MODEL, TRAIN
from tossctr import tuning as search
from tossctr.catalog.model_kinds import kind_of
from tossctr.catalog.schema import TuneConfig
from tossctr.common.errors import NotFiniteError, UserError
from tossctr.common.files import read_json
from tossctr.config.declared import Runtime
from tossctr.models.boosting.boosting import BoostingConfig
from tossctr.models.job import open_rows

pytestmark = pytest.mark.workflow

RUNTIME = Runtime(device="cpu")
SETTINGS: dict[str, Any] = {
    "len5": {
        "model": asdict(replace(MODEL, max_len=5, embedding_dim=4, heads=1, mlp=(8,))),
        "train": asdict(replace(TRAIN, batch_size=30, epochs=2)),
    },
    # A trial has one bag.
    "boosting-deep": {
        "boosting": BoostingConfig(trees=12, min_child_weight=1, learning_rate=0.5, bags=1).values()
    },
}
# Each kind takes its own.
SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "model.pooling": ["mean", "weighted_sum"],
    "model.mlp": [[8], [8, 4]],
    "model.transformer_layers": {"low": 1, "high": 2},
    "boosting.max_depth": {"low": 1, "high": 4, "step": None},
    "boosting.l2": {"low": 1, "high": 2},
    "boosting.learning_rate": [0.25, 0.5],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 train rows and 30 validation rows as H5 files, and the feature map."""
    return make(tmp_path_factory.mktemp("data"), raw_table(120, seed=1))


@pytest.fixture(autouse=True)
def few_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "RANDOM_TRIALS", 3)
    monkeypatch.setattr(search, "SEED", 5)


def files_of(data: Path) -> tuple[list[Path], list[Path], Path]:
    return [data / "train.h5"], [data / "valid.h5"], data / "feature_map.json"


def tune(data: Path, out: Path, model: str = "len5", **config: Any) -> list[dict[str, str]]:
    """Search in `out`; the rows of trials.csv without their times."""
    search.tune_model(
        *files_of(data),
        SETTINGS[model],
        out / "best.yaml",
        out / "trials.csv",
        model=model,
        variant={"boosting": {"colsample": 0.5}} if model == "boosting-deep" else {},
        size="toy",
        tuning=TuneConfig(**{"trials": 3, "space": SPACE} | config),
        runtime=RUNTIME,
        threads=1,
    )
    table = pd.read_csv(out / "trials.csv", dtype=str, keep_default_na=False)
    return table.drop(columns="seconds").to_dict("records")


@pytest.mark.parametrize("model", SETTINGS)
def test_the_best_settings_give_the_value_that_was_found(
    data: Path, tmp_path: Path, model: str
) -> None:
    rows = tune(data, tmp_path, model)
    complete = [row for row in rows if row["state"] == "complete"]
    best = max(complete, key=lambda row: float(row["value"]))
    variants = yaml.safe_load((tmp_path / "best.yaml").read_text())["variants"]
    ((name, variant),) = variants.items()
    assert name == f"tuned_toy_{model.replace('-', '_')}"
    settings = {block: keys | variant[block] for block, keys in SETTINGS[model].items()}
    training = read_json(run_job(data, tmp_path, settings)["training"])
    for metric in ("auc", "logloss"):
        assert training[f"valid_{metric}"] == float(best[metric])
    drawn = {path: value for path, value in best.items() if "." in path}
    blocks = kind_of(model).blocks
    assert {*drawn} == {path for path in SPACE if path.split(".")[0] in blocks}
    if model == "boosting-deep":
        assert variant["boosting"].pop("colsample") == 0.5
        assert float(drawn["boosting.l2"]) % 1  # no integer, though its range is given by such
    assert {f"{block}.{key}" for block in variant for key in variant[block]} == {*drawn}


def train_by(patch: pytest.MonkeyPatch, run: Callable[..., dict[str, Any]]) -> None:
    """Let a function take the place of the trainings, and give their values."""
    entry_point = lambda *_: lambda *_, **__: nullcontext(run)  # noqa: E731
    patch.setattr(type(kind_of("len5")), "entry_point", entry_point)


def test_a_search_goes_on_after_more_trials_are_asked_for_or_it_was_killed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def run(settings: Any, _: Any) -> dict[str, Any]:
        trained.append(settings)
        if len(trained) == 8:  # the third of the second search
            raise KeyboardInterrupt
        return {"value": settings["train"]["learning_rate"]}

    train_by(monkeypatch, run)
    space = {"train.learning_rate": SPACE["train.learning_rate"]}
    whole = tune(data, tmp_path / "whole", trials=5, space=space)
    assert len({row["train.learning_rate"] for row in whole}) == 5
    with pytest.raises(KeyboardInterrupt):
        tune(data, tmp_path, trials=3, space=space)
    assert tune(data, tmp_path, trials=4, space=space) == whole[:4]
    done = (tmp_path / "study/study.db").read_bytes()
    assert tune(data, tmp_path, trials=2, space=space) == whole[:2]
    assert (tmp_path / "study/study.db").read_bytes() == done
    # Another search in the same folder starts over, and leaves this one alone.
    other = tune(data, tmp_path, trials=1, space={"train.learning_rate": [0.5]})
    assert [row["train.learning_rate"] for row in other] == ["0.5"]
    assert tune(data, tmp_path, trials=5, space=space) == whole
    assert len(trained) == 12


def test_a_trial_behind_the_median_or_with_settings_that_cannot_be_is_pruned(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The width is a multiple of 4; so high a penalty makes the loss infinite.
    space = {"model.heads": [1, 7], "train.embedding_l2": [0, 1e300]}
    rows = tune(data, tmp_path / "settings", space=space, trials=6)
    assert {row["state"] for row in rows} == {"complete", "pruned"}
    for row in rows:
        is_sound = row["model.heads"] == "1" and float(row["train.embedding_l2"]) == 0
        assert row["state"] == ("complete" if is_sound else "pruned")
        assert ("7 heads" in row["reason"]) == (row["model.heads"] == "7")
    reported = iter([[0.5, 0.8], [0.6, 0.7], [0.7, 0.72], [0.59, 0.9], [0.61, 0.1]])

    def run(_: Any, report: Callable[[float, int], None]) -> dict[str, Any]:
        first, last = next(reported)
        report(first, 0)
        return {"value": max(first, last)}

    train_by(monkeypatch, run)
    rows = tune(data, tmp_path, trials=5)
    assert [row["state"] for row in rows] == [*(3 * ["complete"]), "pruned", "complete"]
    assert [float(row["value"]) for row in rows] == [0.8, 0.7, 0.72, 0.59, 0.61]


def test_a_search_that_cannot_be_is_refused_and_leaves_no_best_settings(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"search space, tuning\.space"):
        tune(data, tmp_path, space={"boosting.max_depth": [3]})
    assert not (tmp_path / "study").exists()
    # Without a complete trial.
    for error in (NotFiniteError("is nan"), UserError("the rows do not fit")):
        train_by(monkeypatch, Mock(side_effect=error))
        with pytest.raises(UserError, match=str(error)):
            tune(data, tmp_path / type(error).__name__, trials=1)
    assert not [*tmp_path.glob("**/best.yaml")]


def boosted(
    data: Path, out: Path, *changes: dict[str, Any], report: Any = lambda *_: None
) -> list[float]:
    """The values of trials of boosting, one after the other, with changes to its settings."""
    trials = kind_of("boosting").entry_point("trial_runner")
    settings = SETTINGS["boosting-deep"]["boosting"]
    with open_rows(*files_of(data)) as rows, trials(rows, out, RUNTIME, 1) as run:
        return [run({"boosting": settings | change}, report)["value"] for change in changes]


def test_trials_of_boosting_are_compared_where_their_rates_add_up_to_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[tuple[float, int]] = []

    def fit(*given: Any) -> None:
        for tree in range(1, 9):
            given[-1](tree, {"auc": 0.5, "average_precision": 0.5, "logloss": tree / 10})

    monkeypatch.setattr("tossctr.models.boosting.train_trees.fit", fit)
    rates = ({"learning_rate": rate} for rate in (0.5, 0.25))
    boosted(data, tmp_path, *rates, report=lambda *given: reports.append(given))
    # At rate 0.5 two trees are one step, at 0.25 four; the best value so far counts.
    assert reports == [(-0.1, 1), (-0.1, 2), (-0.1, 3), (-0.1, 4), (-0.1, 1), (-0.1, 2)]


def test_a_trial_that_chooses_its_leaves_forgets_those_of_the_one_before(
    data: Path, tmp_path: Path
) -> None:
    high, auto = ({"min_child_weight": weight} for weight in (1000, "auto"))
    before, after = boosted(data, tmp_path, high, auto)
    assert [after] == boosted(data, tmp_path, auto)
    assert before != after
