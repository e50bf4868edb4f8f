"""Sets of features and the size of leaves: what lowers the logloss of held-out rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feseq.boosting import choice
from feseq.boosting.model_file import load
from feseq.common.files import read_json
from feseq.config.boosting import BoostingConfig
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.opening import AllRows
from support.jobs import run_job
from support.learnable import learnable_table, make
from support.raw_tables import COLUMNS, raw_table


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_SHORT", choice._SHORT.model_copy(update={"trees": 30}))


def trained(data: Path, out: Path, files: dict[str, Any] | None = None, **settings: Any) -> Any:
    """What a training writes, and its model, with features chosen."""
    given = {"trees": 20, "max_depth": 3, "learning_rate": 0.3} | settings
    outputs = run_job(data, out, {"boosting": BoostingConfig(**given).values()}, **files or {})
    return read_json(outputs["training"]) | {"model": load(outputs["model"])}


def test_sets_that_help_stay_and_a_refit_and_the_model_have_them(tmp_path: Path) -> None:
    data = make(tmp_path / "data", learnable_table())
    found = trained(data, tmp_path / "first", bags=2)
    tried = {entry["what"]: entry for entry in found["tried"]}
    names = ["histories", "groups", "clicks"]  # there are no IDs
    assert list(tried)[:3] == [f"features {name}" for name in names]
    for name in names:
        entry = tried[f"features {name}"]
        assert entry["kept"] == (entry["gain"] > entry["error"] > 0)
    # Clicks follow one code of the histories.
    assert tried["features histories"]["gain"] > 0.05
    assert tried["features histories"]["kept"]
    assert found["sets"] == [name for name in names if tried[f"features {name}"]["kept"]]
    assert list(found["model"].features.sets) == found["sets"]
    fit_feature_map(AllRows(data / "train.h5", data / "valid.h5"), COLUMNS, 1).write(
        data / "all.json"
    )
    files = {"refit_of": tmp_path / "first/training.json", "feature_map": data / "all.json"}
    again = trained(data, tmp_path / "refit", files, bags=2)
    assert len(found["trees"]) == 2
    for run in (found, again):
        for booster in run["model"].boosters:
            covers = booster.trees_to_dataframe()["Cover"]
            assert covers.min() >= run["min_child_weight"]
    for name in ("sets", "min_child_weight", "tried", "features", "trees", "valid_auc"):
        assert again[name] == found[name]
    settings = {"features": ["clicks", "histories"], "min_child_weight": 3}
    given = trained(data, tmp_path / "given", **settings)
    assert given["model"].features.sets == given["sets"] == ["histories", "clicks"]
    assert (given["min_child_weight"], given["tried"]) == (3, [])


@pytest.mark.parametrize("returns", [True, False])
def test_click_rates_of_who_does_not_return_are_left_out(tmp_path: Path, returns: bool) -> None:
    random = np.random.default_rng(2)
    who = np.repeat(np.arange(60), 50)
    order = random.permutation(3000) if returns else np.arange(3000)
    taste = 2 * random.normal(size=60)[who]
    y = (random.random(3000) < 1 / (1 + np.exp(1 - taste))).astype(np.int8)
    columns = {"item": np.array([f"p{i}" for i in who])[order], "y": y[order]}
    columns["price"] = (taste + random.normal(size=3000))[order]
    make(tmp_path, raw_table(3000, **columns), valid_rows=range(1900, 3000))
    found = trained(tmp_path, tmp_path / "out", unknown_share=0, min_child_weight=1)
    assert ("clicks" in found["sets"]) == returns


def test_trees_of_few_clicks_can_split(tmp_path: Path) -> None:
    data = make(tmp_path, learnable_table(200), valid_rows=range(100, 200))
    found = trained(data, tmp_path / "out")
    assert all(entry["error"] > 0 for entry in found["tried"])


@pytest.mark.parametrize("is_sure", [True, False])
def test_leaves_are_as_small_as_the_rows_can_fill(tmp_path: Path, is_sure: bool) -> None:
    random = np.random.default_rng(0)
    level = random.integers(0, 60, 3000)  # 2,000 train rows: some 33 of each
    chance = np.where(random.random(60) < 0.5, 0.02, 0.98)[level] if is_sure else np.full(3000, 0.5)
    columns = {"y": (random.random(3000) < chance).astype(np.int8), "price": level.astype(float)}
    make(tmp_path, raw_table(3000, **columns), valid_rows=range(2000, 3000))
    found = trained(tmp_path, tmp_path / "out", features=[])
    assert (found["min_child_weight"] < 20) == is_sure
    few = make(tmp_path / "few", raw_table(3000, **columns), valid_rows=range(100, 3000))
    # A tenth of what 100 rows have, which two thirds of them could not fill as well.
    found = trained(few, tmp_path / "out", features=[])
    assert found["min_child_weight"] < 2.5
    assert not found["tried"]
