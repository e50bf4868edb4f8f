"""Trained networks in ONNX: the same logits as the network's, from raw values."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

from support import REPOSITORY, SCRIPTS
from support.networks import WHOLE, random_model
from support.processes import run_python
from support.raw_tables import raw_table, to_train_h5, with_roles
from tossctr.catalog.loading import export_model
from tossctr.common.errors import UserError
from tossctr.datasets.opening import open_table
from tossctr.features.fitting import fit_feature_map
from tossctr.models.feseq import onnx_export
from tossctr.models.feseq.network.pooling import POOLINGS
from tossctr.models.feseq.network.positions import BatchRows
from tossctr.models.feseq.network_file import TrainedNetwork
from tossctr.models.feseq.onnx_export import raw_rows
from tossctr.models.feseq.scorer import Scorer

# With the columns of the page's example.
TIMED = with_roles(
    profile=("country", "hour"),
    sequences=("seq",),
    targets=("inventory_id",),
    shared=("seq",),
    context=("unused",),
    ids=("age",),
    event_time="when",
    row_time="now",
)
ROW = {"country": "KR", "hour": 13, "price": 0.5, "age": 30, "inventory_id": 7, "unused": "x"}
ROW |= {"seq": [7, 9, 7], "when": [10, 20, 30], "now": 85}
# What the workflow needs beside.
OTHER_MODULES = (
    *("duckdb", "grimp", "h5py", "markdown", "matplotlib", "onnx", "onnxscript", "optuna"),
    *("pandas", "psutil", "pydantic", "pygments", "safetensors", "scipy", "sklearn", "snakemake"),
    *("threadpoolctl", "torch", "xgboost", "yaml"),
)
EACH_POOLING = dict(POOLINGS)


class EveryPooling(nn.Module):
    """All poolings side by side, which are exported in the time of one."""

    needs_item = True
    only_targets = False

    def __init__(self, config: Any, *widths: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            pooling(replace(config, pooling=name), *widths)
            for name, pooling in EACH_POOLING.items()
        )
        self.out_width = sum(part.out_width for part in self.parts)

    def forward(self, refined: torch.Tensor, rows: BatchRows, item: torch.Tensor) -> torch.Tensor:
        given = {False: refined, True: rows.targets(refined)}
        return torch.cat([part(given[part.only_targets], rows, item) for part in self.parts], 1)


def export_random_model(folder: Path) -> None:
    """valid.h5, model.safetensors and model.onnx of a network with nearly all inputs."""
    random = np.random.default_rng(3)
    words, lengths = [*map(str, range(27)), "e27", "e28", "e29"], random.integers(0, 12, 200)
    table = raw_table(
        200,
        seq=[",".join(random.choice(words, length)) for length in lengths],
        when=[",".join(map(str, np.sort(random.integers(0, 90, length)))) for length in lengths],
        now=random.integers(80, 100, 200),
        hour=random.integers(0, 24, 200),
        inventory_id=random.choice([*words, "e30"], 200),
        unused=random.choice(["x", "y"], 200),
    )
    train, valid = to_train_h5(folder, table, columns=TIMED)
    model = folder / "model.safetensors"
    feature_map = fit_feature_map(train, TIMED, 2)
    random_model(replace(WHOLE, times=True), feature_map, spread=0.1).save(model)
    export_model(model, valid, folder / "model.onnx")


@pytest.fixture(scope="module")
def folder(shared: Callable[..., Path]) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(POOLINGS, WHOLE.pooling, EveryPooling)
        yield shared("served", export_random_model)


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return Scorer.load(folder / "model.onnx")


def test_raw_values_get_the_logits_that_the_network_gives_the_file(
    folder: Path, scorer: Scorer
) -> None:
    model = TrainedNetwork.load(folder / "model.safetensors")
    # Served rows are of no draw.
    served = replace(model.about, feature_map=replace(model.about.feature_map, fitted_on=""))
    model = replace(model, about=served)
    with open_table(folder / "valid.h5") as table:
        expected, rows = model.predict(table), raw_rows(table, table.rows, "now")
    assert expected.std() > 0.1
    np.testing.assert_allclose(scorer.logits(rows), expected, 1e-5, 1e-5)
    # The export has made its own comparison.
    assert scorer.about["check"]["largest_logit_difference"] < 1e-5
    assert len(str(scorer.about)) < 800
    # Times beside the bounds of their buckets.
    times = [*range(60), 3998, 3999, 4000, 2**59]
    rows = [{**ROW, "seq": [7], "when": [0], "now": now} for now in times]
    expected = model.predict(scorer.table(rows))
    assert len(set(expected.tolist())) > 50
    np.testing.assert_allclose(scorer.logits(rows), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"inventory_id": "7"}, {}),
        ({"inventory_id": 7.0, "age": np.float32(30), "id": object()}, {}),
        ({"seq": "7,9,7", "when": "10,20,30"}, {}),
        ({"seq": ["7", "9", "7"], "when": np.array([10, 20, 30])}, {}),
        ({"price": Decimal("0.50"), "now": pd.Timestamp(85, unit="s")}, {}),
        ({"country": pd.NA, "price": float("nan")}, {"country": None, "price": None}),
        ({"seq": pd.NA, "when": pd.NA}, {"seq": None, "when": None}),
    ],
)
def test_a_value_may_be_written_in_several_ways(
    scorer: Scorer, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert scorer.score([{**ROW, **one}]) == scorer.score([{**ROW, **other}])


def test_rows_may_come_as_one_as_any_iterable_or_as_a_table(scorer: Scorer) -> None:
    rows = [{**ROW, "id": "a", "inventory_id": item} for item in (None, 7, 9, 400)]
    expected = scorer.score(rows)
    frame = pd.DataFrame(rows)
    assert frame["inventory_id"].dtype == float
    frames = (frame, frame.astype(object), frame.astype({"country": "category"}), pa.table(frame))
    for others in (iter(rows), *frames):
        np.testing.assert_array_equal(scorer.score(others), expected)
    for row in (rows[1], frame.astype({"inventory_id": object}).iloc[1]):
        np.testing.assert_array_equal(scorer.score(row), expected[1:2])
    for none in ([], frame[:0]):
        assert scorer.score(none).shape == (0,)


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("price", "cheap"),
        ("inventory_id", ["7"]),
        ("seq", [7, None, 2]),
        ("seq", "7, 9,7"),
        ("when", [10, -1, 30]),
        ("when", [7]),
        ("now", None),
        ("now", 1.5),
    ],
)
def test_a_value_that_cannot_be_scored_or_lacks_is_told_with_its_column(
    scorer: Scorer, column: str, wrong: Any
) -> None:
    with pytest.raises(UserError, match=f"'{column}'"):
        scorer.score([ROW, {**ROW, column: wrong}])
    lacking = {name: value for name, value in ROW.items() if name != column}
    for rows in ([ROW, lacking], pd.DataFrame([lacking])):
        with pytest.raises(UserError, match=f"the rows: column '{column}'"):
            scorer.score(rows)


def test_nothing_is_written_where_the_logits_differ_or_columns_lack(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, onnx = folder / "model.safetensors", tmp_path / "model.onnx"
    _, valid = to_train_h5(tmp_path, raw_table(60))
    with pytest.raises(UserError, match=f"{valid}: lacks"):
        export_model(model, valid, onnx)
    other, content = TrainedNetwork.load(model), (folder / "model.onnx").read_bytes()
    with torch.no_grad():
        other.network.mlp[-1].bias.add_(0.01)
    other.save(tmp_path / "model.safetensors")
    monkeypatch.setattr(onnx_export, "onnx_program", lambda trained: None)
    monkeypatch.setattr(onnx_export, "_content", lambda program, about: content)
    with pytest.raises(UserError, match="not written: 1,000 of 1,000 rows"):
        export_model(tmp_path / "model.safetensors", folder / "valid.h5", onnx)
    assert not onnx.exists()


def test_another_file_or_one_of_a_changed_bit_is_refused(folder: Path, tmp_path: Path) -> None:
    content, changed = bytearray((folder / "model.onnx").read_bytes()), tmp_path / "model.onnx"
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    for path in (changed, folder / "model.safetensors"):
        with pytest.raises(UserError, match=f"^{path}: .*wrong checksum"):
            Scorer.load(path)


@pytest.mark.workflow
def test_the_example_of_the_page_runs_with_what_pip_installs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results/full").mkdir(parents=True)
    (tmp_path / "results/full/len150").symlink_to(folder)
    for name in OTHER_MODULES:
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError")
    page = (REPOSITORY / "docs/serving.md").read_text()
    _, rows, load = re.findall(r"```python\n(.*?)```", page, re.S)
    # This model takes times, too.
    example = load + rows.replace('"hour": 13,', '"hour": 13, "now": 85, "when": [1, 2, 3, 4, 5],')
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    ran = run_python("-c", example, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stderr
    *scores, error = ran.stdout.splitlines()
    assert [line.split()[0] for line in scores] == ["36", "29", "88"]
    assert all(0 < float(line.split()[1]) < 1 for line in scores)
    assert error.startswith("the rows: column 'hour' ")
