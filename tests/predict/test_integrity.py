"""Damaged files and files of other data: a clear error or the right result, never a wrong one."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from support.networks import random_model
from support.raw_tables import raw_table, to_test_h5, to_train_h5
from support.trainings import MODEL
from tossctr.common.errors import UserError
from tossctr.datasets.store import H5Table
from tossctr.features.feature_map import FeatureMap
from tossctr.models.feseq.network_file import TrainedNetwork
from tossctr.models.job import open_rows
from tossctr.predict.model_predictions import predict_part, predict_validation
from tossctr.predict.submission import join_predictions

FLIPS = 20


def untrained(data: Path, simulated: bool = True) -> TrainedNetwork:
    feature_map = FeatureMap.read(data / "feature_map.json")
    return random_model(MODEL, feature_map, simulated=simulated)


@pytest.fixture
def saved(data: Path, tmp_path: Path) -> Path:
    """The file of an untrained model."""
    path = tmp_path / "model.safetensors"
    model = untrained(data)
    replace(model, about=replace(model.about, full_name="toy/len100")).save(path)
    return path


def read_h5(path: Path) -> bytes:
    with H5Table(path) as table:
        words = [table.vocabulary(name) for name in table.categorical_columns]
        return pickle.dumps([words, table.read(0, table.rows)])


def read_model(path: Path) -> bytes:
    model = TrainedNetwork.load(path)
    weights = [weight.numpy() for weight in model.network.state_dict().values()]
    return pickle.dumps([model.about, weights])


def read_predictions(path: Path) -> bytes:
    written = path.with_name("submission.csv")
    join_predictions([[path]], [1.0], written, id_column="ID", label_column="y")
    return written.read_bytes()


def flip_each(path: Path, read: Callable[[Path], bytes]) -> int:
    """Flip one byte at each of some offsets; how often `read` refused. Fails on a wrong result."""
    whole, expected = path.read_bytes(), read(path)
    random, refused = np.random.default_rng(0), 0
    near = random.integers(0, min(4096, len(whole)), FLIPS // 4)
    # Places all over the file, and in its crowded first and last few KiB.
    anywhere = random.integers(0, len(whole), FLIPS // 2)
    for offset in np.concatenate([anywhere, near, len(whole) - 1 - near]):
        damaged = bytearray(whole)
        damaged[offset] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert read(path) == expected, f"byte {offset} of {len(whole)}"
        except UserError:
            refused += 1
    return refused


def test_a_flipped_byte_of_a_file_is_found_or_harmless(
    data: Path, saved: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part000.parquet"
    predict_part(saved, data / "test.h5", part, full_name="toy/len100")
    assert flip_each(part, read_predictions) > 5
    assert flip_each(saved, read_model) > 5
    train_h5, _ = to_train_h5(tmp_path, raw_table(300), valid_rows=range(100))
    for h5 in (train_h5, to_test_h5(tmp_path, raw_table(300))):
        assert flip_each(h5, read_h5) > 2


def test_files_that_do_not_belong_together_are_refused(
    data: Path, saved: Path, tmp_path: Path
) -> None:
    def opened(train: Path, valid: Path, full_name: str = "") -> None:
        with open_rows(train, valid, data / "feature_map.json", full_name):
            pass

    output, strange = tmp_path / "predictions", tmp_path / "strange"
    of_toy = to_train_h5(tmp_path / "toy", raw_table(), size="toy")
    train_h5, valid = to_train_h5(tmp_path, raw_table())[0], data / "valid.h5"
    model = TrainedNetwork.load(saved)
    other_map = replace(model.about.feature_map, fitted_on="another draw")
    replace(model, about=replace(model.about, feature_map=other_map)).save(strange)
    for named, call in {
        "lacks columns .*4 in all": lambda: model.predict(train_h5),
        r"test\.h5: contains test": lambda: predict_validation(saved, data / "test.h5", output),
        r"valid\.h5: has no test rows": lambda: predict_part(saved, valid, output),
        "not made from the same rows": lambda: predict_validation(strange, valid, output),
        "has validation rows": lambda: opened(valid, data / "train.h5"),
        "were not made from": lambda: opened(train_h5, valid),
        r"was made for toy.*not for full": lambda: opened(*of_toy, full_name="full/len5"),
    }.items():
        with pytest.raises(UserError, match=named):
            call()
    assert not output.exists()


def test_predictions_that_are_not_finite_are_not_written(data: Path, tmp_path: Path) -> None:
    model, path, output = untrained(data), tmp_path / "model.safetensors", tmp_path / "out"
    for weight in model.network.parameters():
        weight.data.fill_(float("nan"))
    model.save(path)
    with pytest.raises(UserError, match=r"not finite, such as nan for data row 1 \(1-based\)"):
        predict_validation(path, [data / "valid.h5"], output)
    with pytest.raises(UserError, match=r"not finite, such as nan for ID '\w+'"):
        predict_part(path, data / "test.h5", output)
    assert not output.exists()


def test_another_file_is_refused_with_the_command_that_retrains(
    data: Path, saved: Path, tmp_path: Path
) -> None:
    whole = saved.read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tossctr.models.trained.VERSION", 0)
        untrained(data).save(tmp_path / "version")
    for name in ("cut", "foreign", "version"):
        with pytest.raises(UserError, match=f"{name}: not .*`snakemake --cores 4 .*{name}"):
            TrainedNetwork.load(tmp_path / name)


def test_a_model_of_another_size_or_of_real_data_is_refused(
    data: Path, saved: Path, tmp_path: Path
) -> None:
    predictions = tmp_path / "part000.parquet"
    with pytest.raises(UserError, match=r"safetensors: was made for toy/len100, .* full/len100"):
        predict_part(saved, data / "test.h5", predictions, full_name="full/len100")
    untrained(data, simulated=False).save(saved)
    with pytest.raises(UserError, match=r"has simulated data, .* trained on real data"):
        predict_part(saved, data / "test.h5", predictions)
    assert not predictions.exists()
