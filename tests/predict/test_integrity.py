"""Damaged files and files of other data: a clear error or the right result, never a wrong one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from support.networks import random_model
from support.raw_tables import raw_table, to_test_h5, to_train_h5
from support.trainings import MODEL, train
from tossctr.common.arrays import Ragged
from tossctr.common.errors import UserError
from tossctr.datasets.opening import AllRows, open_table
from tossctr.datasets.store import H5Table
from tossctr.datasets.table import Block
from tossctr.features.feature_map import FeatureMap
from tossctr.models.boosting.tree_file import BoostedModel
from tossctr.models.feseq.network_file import TrainedModel
from tossctr.predict.model_predictions import predict_part, predict_validation
from tossctr.predict.submission import join_predictions

FLIPS = 40


def plain(value: Any) -> Any:
    """A value whose parts can be compared by ==."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return np.asarray(value).tobytes()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return plain(vars(value)) if isinstance(value, Block | Ragged) else value


def read_h5(path: Path) -> Any:
    with H5Table(path) as table:
        words = [table.vocabulary(name) for name in table.categorical_columns]
        return [words, plain(table.read(0, table.rows))]


def read_model(path: Path) -> Any:
    model = TrainedModel.load(path)
    return [model.about, plain(dict(model.network.state_dict()))]


def flip_each(path: Path, read: Callable[[Path], Any]) -> int:
    """Flip one byte at each of some places; how often `read` refused. Fails on a wrong result."""
    whole, expected = path.read_bytes(), read(path)
    random, refused = np.random.default_rng(0), 0
    near = random.integers(0, min(4096, len(whole)), FLIPS // 4).tolist()
    # Places all over the file, and in its crowded first and last few KiB.
    places = {*random.integers(0, len(whole), FLIPS // 2).tolist(), *near}
    for place in sorted(places | {len(whole) - 1 - i for i in near}):
        damaged = bytearray(whole)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            content = read(path)
        except UserError:
            refused += 1
        else:
            assert content == expected, f"byte {place} of {len(whole)}"
    path.write_bytes(whole)
    return refused


@pytest.mark.workflow
def test_a_flipped_byte_of_a_file_is_found_or_harmless(data: Path, tmp_path: Path) -> None:
    train_h5, _ = to_train_h5(tmp_path, raw_table(1000), valid_rows=range(100))
    for h5 in (train_h5, to_test_h5(tmp_path, raw_table(1000))):
        assert flip_each(h5, read_h5) > 5
    model, part = train(data, tmp_path)["model"], tmp_path / "part000.parquet"
    predict_part(model, data / "test.h5", part)

    def submit(path: Path) -> str:
        written = tmp_path / "submission.csv"
        join_predictions([[path]], [1.0], written, id_column="ID", label_column="y")
        return written.read_text()

    assert flip_each(part, submit) > 10
    assert flip_each(model, read_model) > 10


def test_files_that_do_not_belong_together_are_refused(data: Path, tmp_path: Path) -> None:
    path, output = train(data, tmp_path)["model"], tmp_path / "predictions"
    model = TrainedModel.load(path)
    train_h5, _ = to_train_h5(tmp_path / "shop", raw_table())
    test_h5 = to_test_h5(tmp_path / "shop", raw_table())
    strange = replace(model.about.feature_map, fitted_on="another draw")
    replace(model, about=replace(model.about, feature_map=strange)).save(tmp_path / "strange")
    strange.write(tmp_path / "map.json")
    (tmp_path / "train.h5").symlink_to(data / "valid.h5")
    (tmp_path / "valid.h5").symlink_to(data / "train.h5")
    for named, call in {
        "lacks 4 columns": lambda: model.source(train_h5),
        r"test\.h5: holds test rows": lambda: predict_validation(path, data / "test.h5", output),
        r".*h5: holds test rows": lambda: open_table(AllRows(train_h5, test_h5)),
        r"valid\.h5: has no test rows": lambda: predict_part(path, data / "valid.h5", output),
        "not made from the same rows": lambda: predict_validation(
            tmp_path / "strange", data / "valid.h5", output
        ),
        r"train\.h5 holds validation rows": lambda: train(
            tmp_path, tmp_path / "out", feature_map=data / "feature_map.json"
        ),
        ".*not made from the same rows": lambda: train(
            data, tmp_path / "out", feature_map=tmp_path / "map.json"
        ),
    }.items():
        with pytest.raises(UserError, match=named):
            call()


def test_predictions_that_are_not_finite_are_not_written(data: Path, tmp_path: Path) -> None:
    model, path = untrained(data), tmp_path / "model.safetensors"
    for weight in model.network.parameters():
        weight.data.fill_(float("nan"))
    model.save(path)
    for call, named in (
        (lambda: predict_validation(path, [data / "valid.h5"], tmp_path / "out"), r"row 0"),
        (lambda: predict_part(path, data / "test.h5", tmp_path / "out"), r"ID '\w+'"),
    ):
        with pytest.raises(UserError, match=f"not finite, for example nan for {named}"):
            call()
    assert not (tmp_path / "out").exists()


def untrained(data: Path, simulated: bool = True) -> TrainedModel:
    feature_map = FeatureMap.read(data / "feature_map.json")
    return random_model(MODEL, feature_map, simulated=simulated)


def test_another_file_is_refused_with_the_command_that_retrains(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    untrained(data).save(path)
    whole = path.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello")):
        (tmp_path / name).write_bytes(content)
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tossctr.models.trained.VERSION", 0)
        untrained(data).save(tmp_path / "version")
    for name in ("cut", "empty", "text", "foreign", "version"):
        with pytest.raises(UserError, match=f"{name}: not .*`snakemake --cores 4 .*{name}"):
            TrainedModel.load(tmp_path / name)


def test_a_model_in_the_place_of_another_or_of_other_data_is_refused(
    data: Path, tmp_path: Path
) -> None:
    path, predictions = tmp_path / "model.safetensors", tmp_path / "part000.parquet"
    model = untrained(data)
    replace(model, about=replace(model.about, full_name="toy/len100")).save(path)
    assert TrainedModel.load(path, "toy/len100").about.full_name == "toy/len100"
    with pytest.raises(UserError, match=r"safetensors: not a complete .*'feseq'"):
        BoostedModel.load(path)
    with pytest.raises(UserError, match=r"safetensors: was made for toy/len100, .* full/len100"):
        predict_part(path, data / "test.h5", predictions, full_name="full/len100")
    assert not predictions.exists()
    assert TrainedModel.load(path).source(data / "test.h5").rows == 150
    untrained(data, simulated=False).save(path)
    with pytest.raises(UserError, match=r"holds simulated data, .* trained on real data"):
        TrainedModel.load(path).source(data / "test.h5")


def test_a_vocabulary_may_be_larger_than_a_header_of_safetensors(
    data: Path, tmp_path: Path
) -> None:
    feature_map, path = FeatureMap.read(data / "feature_map.json"), tmp_path / "model.safetensors"
    words = [letter * 40_000_000 for letter in "abc"]
    feature_map = replace(feature_map, profile=[replace(feature_map.profile[0], vocabulary=words)])
    random_model(replace(MODEL, heads=1), feature_map).save(path)
    assert TrainedModel.load(path).about.feature_map == feature_map
