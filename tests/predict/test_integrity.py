"""Damaged files and files of other data: a clear error or the right result, never a wrong one."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feseq.common.errors import UserError
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.opening import AllRows, open_table
from feseq.dataset.store import H5Table
from feseq.evaluate.mean_attention import attention
from feseq.evaluate.validation import predict_validation
from feseq.predict.model_file import TrainedModel
from feseq.predict.part import predict_part
from feseq.predict.submission import join_predictions
from support.raw_tables import COLUMNS, raw_table, to_test_h5, to_train_h5
from support.trainings import train

pytestmark = pytest.mark.workflow

FLIPS = 40


def plain(value: Any) -> Any:
    """A value whose parts can be compared by ==."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def read_h5(path: Path) -> Any:
    with H5Table(path) as table:
        words = [table.vocabulary(name) for name in table.categorical_columns]
        return [words, plain(table.read(0, table.rows))]


def read_model(path: Path) -> Any:
    model = TrainedModel.load(path)
    weights = plain(dict(model.network.state_dict()))
    return [model.about, weights]


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
            found = read(path)
        except UserError:
            refused += 1
        else:
            assert found == expected, f"byte {place} of {len(whole)}"
    path.write_bytes(whole)
    return refused


def test_a_flipped_byte_of_an_h5_file_is_found_or_harmless(tmp_path: Path) -> None:
    train_h5, _ = to_train_h5(tmp_path, raw_table(1000), valid_rows=range(100))
    for h5 in (train_h5, to_test_h5(tmp_path, raw_table(1000))):
        assert flip_each(h5, read_h5) > 5


def test_a_flipped_byte_of_a_model_or_predictions_never_reaches_a_submission(
    data: Path, tmp_path: Path
) -> None:
    model, part = train(data, tmp_path)["model"], tmp_path / "part000.parquet"
    predict_part(model, data / "test.h5", part)

    def submit(path: Path) -> str:
        written = tmp_path / "submission.csv"
        join_predictions([[path]], [1.0], written, id_column="ID", label_column="y")
        return written.read_text()

    assert flip_each(part, submit) > 10
    assert flip_each(model, read_model) > 10


def test_a_test_table_is_no_validation_rows_and_the_reverse(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    for path, name in zip(to_train_h5(folder, raw_table()), ("train", "valid")):
        path.rename(folder / f"{name}.h5")
    fit_feature_map(folder / "train.h5", COLUMNS, 1).write(folder / "feature_map.json")
    model = train(folder, tmp_path)["model"]
    test = to_test_h5(tmp_path / "test", raw_table())
    outputs = [tmp_path / name for name in "ps"]
    for call in (
        lambda: predict_validation(model, test, *outputs),
        lambda: attention(TrainedModel.load(model), test),
        lambda: open_table(AllRows(folder / "train.h5", test)),
    ):
        with pytest.raises(UserError, match=r"test\.h5: holds test rows"):
            call()
    with pytest.raises(UserError, match=r"valid\.h5: holds no test rows"):
        predict_part(model, folder / "valid.h5", tmp_path / "p")


def test_files_that_do_not_belong_together_are_refused(data: Path, tmp_path: Path) -> None:
    model = TrainedModel.load(train(data, tmp_path)["model"])
    (tmp_path / "shop").mkdir()
    other, _ = to_train_h5(tmp_path / "shop", raw_table())
    with pytest.raises(UserError, match="lacks 5 columns"):
        model.source(other)
    strange = replace(model.about.feature_map, fitted_on="another draw")
    replace(model, about=replace(model.about, feature_map=strange)).save(tmp_path / "strange")
    with pytest.raises(UserError, match="not made from the same rows"):
        predict_validation(tmp_path / "strange", data / "valid.h5", *(tmp_path / n for n in "ps"))
    (tmp_path / "train.h5").symlink_to(data / "valid.h5")
    (tmp_path / "valid.h5").symlink_to(data / "train.h5")
    with pytest.raises(UserError, match=r"train\.h5 holds validation rows"):
        train(tmp_path, tmp_path / "out", feature_map=data / "feature_map.json")
    strange.write(tmp_path / "map.json")
    with pytest.raises(UserError, match="not made from the same rows"):
        train(data, tmp_path / "out", feature_map=tmp_path / "map.json")
