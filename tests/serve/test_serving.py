"""Trained networks in ONNX: the same logits as the network's, from raw values."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from packaging.requirements import Requirement

from feseq.common.errors import UserError
from feseq.config.model import ModelConfig
from feseq.dataset.feature_map import FeatureMap, read_columns
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.opening import open_table
from feseq.family.model import About
from feseq.model.build import build_model
from feseq.predict.model_file import TrainedModel
from feseq.serve import export
from feseq.serve.check_rows import raw_rows
from feseq.serve.export import export_model
from feseq.serve.scorer import Scorer
from support import REPOSITORY, SCRIPTS, trainings
from support.raw_tables import raw_table, to_train_h5, with_roles


def save_model(
    folder: Path, feature_map: FeatureMap, config: ModelConfig, *, simulated: bool
) -> Path:
    """An untrained network with weights that matter."""
    torch.manual_seed(0)
    network = build_model(config, feature_map)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    path = folder / "model.safetensors"
    about = About({"model": asdict(config)}, feature_map, simulated, 0.1)
    TrainedModel(about, network).save(path)
    return path


# All that a row can be encoded as.
TIMED = with_roles(
    sequences=("events",),
    targets=("item",),
    shared=("events",),
    context=("unused",),
    ids=("age",),
    event_time="when",
    row_time="now",
)
WHOLE = ModelConfig(
    max_len=6,
    embedding_dim=4,
    interaction_layers=1,
    transformer_layers=1,
    heads=2,
    times=True,
    time_log_base=2,
    mlp=(8,),
    numerics=("linear", "buckets", "missing"),
    scaling="quantile",
    history_statistics=("length", "entropy", "newest"),
    levels=100,
    shortcuts=True,
    crossing=3,
    mlp_cross_rank=2,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The exported file, beside the model, the rows and the program that it is made from."""
    folder = tmp_path_factory.mktemp("served")
    random = np.random.default_rng(3)
    events = [random.integers(0, 30, length) for length in random.integers(0, 12, 200)]
    times = [np.sort(random.integers(0, 90, len(row))) for row in events]
    table = raw_table(
        200,
        events=[",".join(str(e) if e < 27 else f"e{e}" for e in row) for row in events],
        when=[",".join(map(str, row)) for row in times],
        now=random.integers(80, 100, 200),
        item=[str(i) if i < 27 else f"e{min(i, 30)}" for i in random.integers(0, 33, 200)],
        unused=random.choice(["x", "y"], 200),
    )
    train, valid = to_train_h5(folder, table, columns=TIMED)
    model = save_model(folder, fit_feature_map(train, TIMED, 2), WHOLE, simulated=False)
    onnx = folder / "model.onnx"
    program = export._program(TrainedModel.load(model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_program", lambda trained: program)
        export_model(model, valid, onnx)
    return {"model": model, "valid_h5": valid, "onnx": onnx, "program": program}


class Item(str, Enum):  # noqa: UP042, whose text is "Item.SEVEN"
    SEVEN = "7"


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


def test_the_export_says_how_far_it_is_from_the_network(files: dict[str, Any]) -> None:
    check = Scorer.load(files["onnx"]).about["check"]
    assert 0 <= check.pop("largest_logit_difference") < 1e-5
    assert check.pop("rows") == 1000
    assert set(check) == {"rows_without_history", "missing_values", "unseen_categories"}
    assert min(check.values()) > 50


def test_raw_values_get_the_logits_that_the_network_gives_the_file(files: dict[str, Any]) -> None:
    with open_table(files["valid_h5"]) as table:
        expected = TrainedModel.load(files["model"]).predict(table)
        rows = raw_rows(table, table.rows, "now")
    np.testing.assert_allclose(Scorer.load(files["onnx"]).logits(rows), expected, 1e-5, 1e-5)


def test_a_time_beside_a_bucket_bound_gets_the_logit_of_the_network(files: dict[str, Any]) -> None:
    model, scorer = TrainedModel.load(files["model"]), Scorer.load(files["onnx"])
    times = [2**power + offset for power in range(1, 60) for offset in (-2, -1, 0)]
    rows = [{**ROW, "events": [7], "when": [0], "now": now} for now in times]
    expected = model.predict(scorer.table(rows))
    assert len(set(expected.tolist())) > 50
    np.testing.assert_allclose(scorer.logits(rows), expected, atol=1e-5)


def test_row_times_in_another_unit_are_warned_of_once(
    files: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    model, scorer = TrainedModel.load(files["model"]), Scorer.load(files["onnx"])
    for now in (85, 2, 1):
        model.predict(scorer.table([{**ROW, "now": now}]))
        assert len(caplog.records) == (now == 2)
        caplog.clear()


def test_rows_get_the_same_score_alone_and_together(files: dict[str, Any]) -> None:
    scorer = Scorer.load(files["onnx"])
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
    np.testing.assert_allclose(
        np.concatenate([scorer.score([row]) for row in rows]), together, 1e-5
    )
    assert scorer.score([]).shape == (0,)


def test_a_long_history_is_not_padded_to_by_hundreds_of_rows(files: dict[str, Any]) -> None:
    scorer, long = Scorer.load(files["onnx"]), 10_000
    rows = [{**ROW, "events": [7] * n, "when": [1] * n} for n in (20, long, *[30] * 500)]
    table = scorer.table(rows)
    chunks = [*scorer.chunks(table)]
    assert sorted(np.concatenate(chunks).tolist()) == [*range(len(rows))]
    largest = max(scorer.inputs(table, some)["whole_history"].size for some in chunks)
    assert largest < 10 * long
    assert len(chunks) < 10


@pytest.mark.parametrize(
    "same",
    [
        {"item": "7"},
        {"item": 7.0},
        {"item": Decimal("7.00")},
        {"events": "7,9,7", "when": "10,20,30"},
        {"events": ["7", "9", Item.SEVEN]},
        {"events": np.array([7, 9, 7])},
        {"price": np.float32(0.5)},
        {"price": Decimal("0.50")},
        {"age": np.float32(30)},
        {"now": pd.Timestamp(85, unit="s")},
        {"now": np.datetime64(85, "s")},
        {"now": np.datetime64(85 * 10**9, "ns")},
        {"id": object()},
    ],
)
def test_a_value_may_be_written_in_several_ways(
    files: dict[str, Any], same: dict[str, Any]
) -> None:
    scorer = Scorer.load(files["onnx"])
    assert scorer.score([{**ROW, **same}]) == scorer.score([ROW])


@pytest.mark.parametrize("name", ["country", "price", "item", "events"])
@pytest.mark.parametrize("missing", [float("nan"), pd.NA, pd.NaT])
def test_what_pandas_calls_missing_is_missing(
    files: dict[str, Any], name: str, missing: object
) -> None:
    scorer, row = Scorer.load(files["onnx"]), {**ROW, "when": None if name == "events" else "1,2,3"}
    assert scorer.score([{**row, name: missing}]) == scorer.score([{**row, name: None}])


def test_rows_may_come_as_one_as_any_iterable_or_as_a_table(files: dict[str, Any]) -> None:
    scorer = Scorer.load(files["onnx"])
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
    assert scorer.score(frame[:0].convert_dtypes()).shape == (0,)
    table = pa.table({name: [value] for name, value in ROW.items()})
    moment = pa.array([datetime(1970, 1, 1, 0, 1, 25)]).dictionary_encode()
    lists = pa.DictionaryArray.from_arrays([0], table["events"].combine_chunks())
    encoded = {"now": moment, "events": lists}
    by_dictionary = pa.table({name: encoded.get(name, table[name]) for name in table.column_names})
    np.testing.assert_array_equal(scorer.score(by_dictionary), scorer.score([ROW]))


@pytest.mark.parametrize("column", ["item", "age", "events"])
def test_whole_numbers_of_64_bits_are_the_same_in_rows_and_in_a_table(
    files: dict[str, Any], column: str
) -> None:
    scorer, values = Scorer.load(files["onnx"]), [7, 2**63 + 5, 2**64 - 1]
    if column == "events":
        values = [[7, value, 9] for value in values]
    rows = [{**ROW, column: value} for value in values]
    kind = pa.list_(pa.uint64()) if column == "events" else pa.uint64()
    plain = pa.table(pd.DataFrame([ROW] * 3).drop(columns=column))
    table = plain.append_column(column, pa.array(values, kind))
    np.testing.assert_array_equal(scorer.score(rows), scorer.score(table))
    np.testing.assert_array_equal(scorer.score(rows), scorer.score(table.to_batches()[0]))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("item", [7, "7"]),
        ("item", ["e28", b"7"]),
        ("item", [np.float32(0.1), 0.5]),
        ("item", [7, np.True_]),
        ("price", [0.5, "cheap"]),
        ("price", [0.5, np.uint64(2**64 - 1)]),
        ("price", [0.5, Decimal("0.5")]),
        ("events", [[7, 9, 7], "7,9,7"]),
        ("events", [[7, 9, 7], {7, 8, 9}]),
        ("now", [85, datetime(1970, 1, 1, 0, 1, 38)]),
        ("now", [datetime(1970, 1, 1, 0, 1, 38), datetime(1970, 1, 1, 0, 1, 38, tzinfo=UTC)]),
    ],
)
def test_values_of_several_types_are_refused_in_rows_and_in_a_frame(
    files: dict[str, Any], column: str, values: list[Any]
) -> None:
    rows = [{**ROW, column: value} for value in (values[0], *values)]
    for given in (rows, pd.DataFrame(rows, dtype=object)):
        with pytest.raises(UserError, match=f"row 2: column '{column}'"):
            Scorer.load(files["onnx"]).score(given)


@pytest.mark.parametrize("threads", [0, -1, 10**9, "2", None, 1.5])
def test_a_number_of_threads_that_is_none_is_refused(files: dict[str, Any], threads: Any) -> None:
    with pytest.raises(UserError, match="threads"):
        Scorer.load(files["onnx"], threads=threads)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (None, "row 0: is of type NoneType"),
        ([ROW, None], "row 1: is of type NoneType"),
        ("events", "row 0: is of type str"),
        ([[7]], "row 0: is of type list"),
        (pd.DataFrame([ROW]).drop(columns="item"), "the rows: .*item"),
        (pa.table(pd.DataFrame([ROW])).append_column("item", [[7]]), "the rows: .*item"),
        (pd.DataFrame([[*ROW.values()]], columns=pd.MultiIndex.from_product([ROW, [""]])), "rows"),
        (pd.DataFrame([{**ROW, "price": "7"}]), "the rows: column 'price' has type"),
    ],
)
def test_what_are_no_rows_is_told(files: dict[str, Any], rows: Any, named: str) -> None:
    with pytest.raises(UserError, match=named):
        Scorer.load(files["onnx"]).score(rows)


@pytest.mark.parametrize(
    ("wrong", "column"),
    [
        ({"price": "cheap"}, "price"),
        ({"price": b"7"}, "price"),
        ({"price": 10**5000}, "price"),
        ({"price": object()}, "price"),
        ({"item": ["7"]}, "item"),
        ({"item": "\ud800"}, "item"),
        ({"item": "7\0"}, "item"),
        ({"events": [7, None, 2]}, "events"),
        ({"events": [7, 1.0, 2]}, "events"),
        ({"events": [7, "9", 2]}, "events"),
        ({"events": [7, 2**64, 2]}, "events"),
        ({"events": np.array([]), "when": None}, "events"),
        ({"events": [7, True, 2]}, "events"),
        ({"events": [7, np.True_, 2]}, "events"),
        ({"events": np.array([7, np.True_, 2], object)}, "events"),
        ({"events": {7, 9, 8}}, "events"),
        ({"events": (event for event in (7, 9, 7))}, "events"),
        ({"events": "7, 9,7"}, "events"),
        ({"when": [10, -1, 30]}, "when"),
        ({"when": "10,x,30"}, "when"),
        ({"events": 7}, "events"),
        ({"events": [7]}, "when"),
        ({"now": None}, "now"),
        ({"now": 1.5}, "now"),
        ({"now": True}, "now"),
        ({"now": 2**63}, "now"),
    ],
)
def test_a_row_that_cannot_be_scored_is_told_with_its_column(
    files: dict[str, Any], wrong: dict[str, Any], column: str
) -> None:
    scorer = Scorer.load(files["onnx"])
    for rows in ([{**ROW, **wrong}], [ROW, {**ROW, **wrong}]):
        with pytest.raises(UserError, match=f"'{column}'"):
            scorer.score(rows)
    with pytest.raises(UserError, match=f"row 1: lacks column '{column}'"):
        scorer.score([ROW, {name: value for name, value in ROW.items() if name != column}])


def test_nothing_is_written_where_the_logits_differ(
    files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TrainedModel.load(files["model"])
    with torch.no_grad():
        other.network.mlp[-1].bias.add_(0.001)
    other.save(tmp_path / "model.safetensors")
    monkeypatch.setattr(export, "_program", lambda trained: files["program"])
    arguments = (tmp_path / "model.safetensors", files["valid_h5"], tmp_path / "model.onnx")
    with pytest.raises(UserError, match="not written: 1,000 of 1,000 rows"):
        export_model(*arguments)
    with pytest.raises(UserError, match="--row_time"):
        read_columns([other.about.feature_map], None)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_another_file_is_refused(files: dict[str, Any], tmp_path: Path) -> None:
    damaged = tmp_path / "model.onnx"
    damaged.write_bytes(files["onnx"].read_bytes()[:-100])
    for path in (damaged, files["model"]):
        with pytest.raises(UserError, match=f"^{path}: "):
            Scorer.load(path)
    with pytest.raises(UserError, match=r"none.onnx: is no file"):
        Scorer.load(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="is no file"):
        Scorer.load("n" * 5_000)
    with pytest.raises(UserError, match=r"Scorer\.load"):
        Scorer(str(files["onnx"]))  # type: ignore[arg-type]


def test_rows_of_other_columns_check_no_export(files: dict[str, Any], tmp_path: Path) -> None:
    _, valid = to_train_h5(tmp_path, raw_table(60))
    with pytest.raises(UserError, match=f"{valid}: lacks"):
        export_model(files["model"], valid, tmp_path / "model.onnx")


def test_a_single_changed_bit_is_refused_wherever_it_is(files: dict[str, Any]) -> None:
    content = files["onnx"].read_bytes()
    random = np.random.default_rng(5)
    places = [0, len(content) - 1, *random.integers(0, len(content), 200).tolist()]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        with pytest.raises(UserError, match="wrong checksum"):
            Scorer(bytes(changed))


MISSING = """
import sys

class Missing:
    def find_spec(self, name, *others):
        if name in {}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
"""


def installed_with(lines: Iterable[str]) -> set[str]:
    """The packages of some requirements, and of theirs."""
    wanted = [Requirement(line) for line in lines]
    names = {one.name for one in wanted if one.marker is None or one.marker.evaluate()}
    return names.union(*(installed_with(requires(name) or ()) for name in names))


def test_the_example_of_the_page_runs_with_what_pip_installs(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "results/toy/len100"
    place.mkdir(parents=True)
    feature_map = FeatureMap.read(data / "feature_map.json")
    config = replace(trainings.SMALL_MODEL, transformer_layers=0, interaction_layers=0)
    model = save_model(place, feature_map, config, simulated=True)
    caplog.set_level("INFO")
    export_model(model, data / "valid.h5", place / "model.onnx")
    # What the exporter folds and skips tells a user nothing.
    assert {record.name.split(".")[0] for record in caplog.records} == {"feseq"}
    page = (REPOSITORY / "docs/serving.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    brought = installed_with(project["dependencies"])
    others = {name for name, of in packages_distributions().items() if not brought & set(of)}
    assert {"torch", "pydantic", "pandas"} < others
    code = MISSING.format(others) + example
    command, found = [sys.executable, "-c", code], {"PYTHONPATH": str(SCRIPTS)}
    ran = subprocess.run(
        command, cwd=tmp_path, env=os.environ | found, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    *scores, error = ran.stdout.splitlines()
    assert [line.split()[0] for line in scores] == ["36", "29", "88"]
    assert all(0 < float(line.split()[1]) < 1 for line in scores)
    assert error.startswith("the rows: column 'hour' ")
