"""Trained networks in ONNX: the same logits as the network's, from raw values."""

import os
import re
import tomllib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
import torch

from support import REPOSITORY, SCRIPTS, trainings
from support.networks import WHOLE, random_model
from support.processes import run_python
from support.raw_tables import raw_table, to_train_h5, with_roles
from tossctr.catalog.loading import export_model
from tossctr.common.errors import UserError
from tossctr.datasets.opening import open_table
from tossctr.features.feature_map import FeatureMap, read_columns
from tossctr.features.fitting import fit_feature_map
from tossctr.models.feseq import onnx_export
from tossctr.models.feseq.network.pooling import POOLINGS
from tossctr.models.feseq.network_file import TrainedModel
from tossctr.models.feseq.onnx_export import raw_rows
from tossctr.models.feseq.scorer import Scorer, signed

TIMED = with_roles(
    sequences=("events",),
    targets=("item",),
    shared=("events",),
    context=("unused",),
    ids=("age",),
    event_time="when",
    row_time="now",
)
MODEL = replace(WHOLE, times=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The exported file, beside the model, the rows and the program that it is made from."""
    folder = tmp_path_factory.mktemp("served")
    random = np.random.default_rng(3)
    events = [random.integers(0, 30, length) for length in random.integers(0, 12, 200)]
    table = raw_table(
        200,
        events=[",".join(str(e) if e < 27 else f"e{e}" for e in row) for row in events],
        when=[",".join(map(str, np.sort(random.integers(0, 90, len(row))))) for row in events],
        now=random.integers(80, 100, 200),
        item=[str(i) if i < 27 else f"e{min(i, 30)}" for i in random.integers(0, 33, 200)],
        unused=random.choice(["x", "y"], 200),
    )
    train, valid = to_train_h5(folder, table, columns=TIMED)
    model, onnx = folder / "model.safetensors", folder / "model.onnx"
    random_model(MODEL, fit_feature_map(train, TIMED, 2)).save(model)
    program = onnx_export.onnx_program(TrainedModel.load(model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "onnx_program", lambda trained: program)
        export_model(model, valid, onnx)
    return {"model": model, "valid_h5": valid, "onnx": onnx, "program": program}


@pytest.fixture(scope="module")
def scorer(files: dict[str, Any]) -> Scorer:
    return Scorer.load(files["onnx"])


ROW = {
    "country": "KR",
    "price": 0.5,
    "age": 30,
    "item": 7,
    "unused": "x",
    "events": [7, 9, 7],
    "when": [10, 20, 30],
    "now": 85,
}


def test_raw_values_get_the_logits_that_the_network_gives_the_file(
    files: dict[str, Any], scorer: Scorer
) -> None:
    model = TrainedModel.load(files["model"])
    # Served rows are of no draw.
    served = replace(model.about, feature_map=model.about.feature_map.for_other_rows())
    model = replace(model, about=served)
    with open_table(files["valid_h5"]) as table:
        expected, rows = model.predict(table), raw_rows(table, table.rows, "now")
    np.testing.assert_allclose(scorer.logits(rows), expected, 1e-5, 1e-5)
    # Times beside the bounds of their buckets.
    times = [*range(60), 3997, 3998, 3999, 4000, 2**59]
    rows = [{**ROW, "events": [7], "when": [0], "now": now} for now in times]
    expected = model.predict(scorer.table(rows))
    assert len(set(expected.tolist())) > 50
    np.testing.assert_allclose(scorer.logits(rows), expected, atol=1e-5)
    # The export has made its own comparison.
    assert scorer.about["check"]["largest_logit_difference"] < 1e-5


def test_rows_of_the_comparison_are_partly_empty_missing_or_unseen(files: dict[str, Any]) -> None:
    with open_table(files["valid_h5"]) as table:
        rows = onnx_export.check_rows(table, 1000, "now", {"events"})
    values = [row["item"] for row in rows]
    events = [event for row in rows for event in row["events"]]
    rare = (values.count(None), values.count("never seen in training"), events.count(str(10**12)))
    assert min(sum(not row["events"] for row in rows), *rare) > 20
    assert len(rows) == 1000


@pytest.mark.workflow
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_is_exported(data: Path, tmp_path: Path, pooling: str) -> None:
    # Without layers before the pooling, an export takes half the time.
    few = {"interaction_layers": 0, "transformer_layers": 0}
    config = replace(trainings.SMALL_MODEL, pooling=pooling, **few)
    model, onnx = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    fields = FeatureMap.read(data / "feature_map.json")
    trained = random_model(config, fields, spread=0.2, simulated=True)
    trained.save(model)
    export_model(model, data / "valid.h5", onnx)
    assert trained.predict(data / "valid.h5").std() > 0.1
    assert Scorer.load(onnx).about["check"]["largest_logit_difference"] < 1e-5


def test_rows_get_the_same_score_alone_and_together(scorer: Scorer) -> None:
    others = [
        {"item": 9},
        {"events": None, "when": None},
        {"events": [7] * 20, "when": list(range(20))},
        {"events": np.array([9, 7, 9], np.uint8), "age": np.int8(31)},
        {"events": (7, 2**40, 9)},
        {"price": 2, "age": 2**53 + 1},
        {"price": None, "now": np.int64(98)},
        dict.fromkeys(("country", "price", "age", "item", "unused")),
    ]
    rows = [{**ROW, **other} for other in ({}, *others)]
    together = scorer.score(rows)
    assert len(set(together.round(6))) == len(rows)
    alone = np.concatenate([scorer.score([row]) for row in rows])
    np.testing.assert_allclose(alone, together, 1e-5)


MISSING_VALUES = (float("nan"), pd.NA, pd.NaT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(({"item": seven}, {}) for seven in ("7", 7.0, Decimal("7.00"))),
        ({"events": "7,9,7", "when": "10,20,30"}, {}),
        *(({"events": same}, {}) for same in (["7", "9", "7"], np.array([7, 9, 7]))),
        *(({"price": same}, {}) for same in (np.float32(0.5), Decimal("0.50"))),
        ({"age": np.float32(30), "id": object()}, {}),
        ({"now": pd.Timestamp(85, unit="s")}, {}),
        *(({"now": np.datetime64(85 * per, unit)}, {}) for per, unit in ((1, "s"), (10**9, "ns"))),
        *(
            ({name: missing, "when": when}, {name: None, "when": when})
            for name, when in (("country", "1,2,3"), ("price", "1,2,3"), ("events", None))
            for missing in MISSING_VALUES
        ),
    ],
)
def test_a_value_may_be_written_in_several_ways(
    scorer: Scorer, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert scorer.score([{**ROW, **one}]) == scorer.score([{**ROW, **other}])


def test_rows_may_come_as_one_as_any_iterable_or_as_a_table(scorer: Scorer) -> None:
    rows = [{**ROW, "id": "a", "item": item} for item in (None, 7, 9, 400)]
    expected = scorer.score(rows)
    frame = pd.DataFrame(rows)
    assert frame["item"].dtype == float
    named = frame.assign(select=1, columns=2)
    frames = (frame, frame.astype(object), frame[::-1][::-1], named, pa.table(frame))
    for others in (tuple(rows), iter(rows), *frames):
        np.testing.assert_array_equal(scorer.score(others), expected)
    for row in (rows[1], frame.astype({"item": object}).iloc[1]):
        np.testing.assert_array_equal(scorer.score(row), expected[1:2])
    for none in ([], frame[:0].convert_dtypes()):
        assert scorer.score(none).shape == (0,)
    table = pa.table({name: [value] for name, value in ROW.items()})
    moment = pa.array([datetime(1970, 1, 1, 0, 1, 25)]).dictionary_encode()
    lists = pa.DictionaryArray.from_arrays([0], table["events"].combine_chunks())
    table = table.drop_columns(["now", "events"])
    by_dictionary = table.append_column("now", moment).append_column("events", lists)
    np.testing.assert_array_equal(scorer.score(by_dictionary), scorer.score([ROW]))


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([ROW, None], "the rows: .*NoneType"),
        ("events", "the rows: "),
        (pd.DataFrame([ROW]).drop(columns="item"), "the rows: .*item"),
        (pa.table(pd.DataFrame([ROW])).append_column("item", [[7]]), "the rows: .*item"),
        (pd.DataFrame([{**ROW, "price": "7"}]), "the rows: column 'price' has type"),
        *(
            ([ROW, {name: value for name, value in ROW.items() if name != lacking}], named)
            for lacking, named in ((column, f"the rows: column '{column}'") for column in ROW)
        ),
        *(
            ([ROW, {**ROW, column: wrong}], f"'{column}'")
            for column, values in {
                "price": ["cheap", 10**5000, object()],
                "item": [["7"], "7\0"],
                "events": [[7, None, 2], [7, "9", 2], "7, 9,7", 7],
                "when": [[10, -1, 30], "10,x,30", [7]],
                "now": [None, 1.5, 2**63],
            }.items()
            for wrong in values
        ),
    ],
)
def test_what_cannot_be_scored_is_told_with_its_row_or_column(
    scorer: Scorer, rows: Any, named: str
) -> None:
    with pytest.raises(UserError, match=named):
        scorer.score(rows)


def test_nothing_is_written_where_the_logits_differ_or_columns_lack(
    files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, onnx = TrainedModel.load(files["model"]), tmp_path / "model.onnx"
    with torch.no_grad():
        other.network.mlp[-1].bias.add_(0.01)
    other.save(tmp_path / "model.safetensors")
    monkeypatch.setattr(onnx_export, "onnx_program", lambda trained: files["program"])
    with pytest.raises(UserError, match="not written: 1,000 of 1,000 rows"):
        export_model(tmp_path / "model.safetensors", files["valid_h5"], onnx)
    _, valid = to_train_h5(tmp_path, raw_table(60))
    with pytest.raises(UserError, match=f"{valid}: lacks"):
        export_model(files["model"], valid, onnx)
    assert not onnx.exists()
    with pytest.raises(UserError, match="--row_time"):
        read_columns([other.about.feature_map], None)


def test_another_file_or_one_of_a_changed_bit_is_refused(
    files: dict[str, Any], tmp_path: Path
) -> None:
    content, damaged = files["onnx"].read_bytes(), tmp_path / "model.onnx"
    damaged.write_bytes(content[:-100])
    for path in (damaged, files["model"]):
        with pytest.raises(UserError, match=f"^{path}: "):
            Scorer.load(path)
    random = np.random.default_rng(5)
    for place in (0, len(content) - 1, *random.integers(0, len(content), 200).tolist()):
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        with pytest.raises(UserError, match="wrong checksum"):
            Scorer(bytes(changed))


def test_logits_that_are_not_finite_are_refused(files: dict[str, Any]) -> None:
    model = onnx.load(files["onnx"])
    (mark,) = [entry for entry in model.metadata_props if entry.key == "sha256"]
    model.metadata_props.remove(mark)
    for weights in model.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and weights.raw_data:
            nan = np.full(len(weights.raw_data) // 4, np.nan, np.float32)
            weights.raw_data = nan.tobytes()
    with pytest.raises(UserError, match="1 predictions are not finite"):
        Scorer(signed(model.SerializeToString())).logits(ROW)


# A Python that lacks some modules.
LACKING = """
import sys

class Missing:
    def find_spec(self, name, *others):
        if name in {}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
"""


def test_the_example_of_the_page_runs_with_what_pip_installs(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "results/toy/len100"
    place.mkdir(parents=True)
    config = replace(trainings.SMALL_MODEL, transformer_layers=0, interaction_layers=0)
    feature_map, model = FeatureMap.read(data / "feature_map.json"), place / "model.safetensors"
    random_model(config, feature_map, simulated=True).save(model)
    caplog.set_level("INFO")
    export_model(model, data / "valid.h5", place / "model.onnx")
    # What the exporter folds and skips tells a user nothing.
    assert {record.name.split(".")[0] for record in caplog.records} == {"tossctr"}
    page = (REPOSITORY / "docs/serving.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    workflow = (REPOSITORY / "envs/requirements.txt").read_text().splitlines()
    beside, brought = (
        {re.split("[=>]", line)[0] for line in lines}
        for lines in (workflow, project["dependencies"])
    )
    others = {name for name, of in packages_distributions().items() if (beside - brought) & {*of}}
    assert {"torch", "pydantic", "pandas"} < others
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    ran = run_python("-c", LACKING.format(others) + example, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stderr
    *scores, error = ran.stdout.splitlines()
    assert [line.split()[0] for line in scores] == ["36", "29", "88"]
    assert all(0 < float(line.split()[1]) < 1 for line in scores)
    assert error.startswith("the rows: column 'hour' ")
