"""The file of a trained model: all that predictions need, for the data it belongs to."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from feseq.boosting.model_file import BoostedModel
from feseq.common.errors import UserError
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.fitting import fit_feature_map
from feseq.family.model import About
from feseq.model.build import build_model
from feseq.predict.model_file import TrainedModel
from feseq.predict.part import predict_part
from support.raw_tables import raw_table, to_train_h5, with_roles
from support.trainings import MODEL, train


def untrained(data: Path, simulated: bool = True) -> TrainedModel:
    feature_map = FeatureMap.read(data / "feature_map.json")
    about = About({"model": asdict(MODEL)}, feature_map, simulated, 0.02)
    return TrainedModel(about, build_model(MODEL, feature_map))


def test_another_file_is_refused_with_the_command_that_retrains(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    untrained(data).save(path)
    whole = path.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello")):
        (tmp_path / name).write_bytes(content)
    torch.save({"format": "feseq-model", "version": 3}, tmp_path / "version_3")
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign")
    for name in ("cut", "empty", "text", "version_3", "foreign"):
        with pytest.raises(UserError, match=f"{name}: not .*`snakemake --cores 4 .*{name}"):
            TrainedModel.load(tmp_path / name)


def test_a_model_in_the_place_of_another_is_refused(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = untrained(data)
    replace(model, about=replace(model.about, full_name="toy/len100")).save(path)
    assert TrainedModel.load(path, "toy/len100").about.full_name == "toy/len100"
    assert TrainedModel.load(path).about.full_name == "toy/len100"
    predictions = tmp_path / "part000.parquet"
    with pytest.raises(UserError, match=r"safetensors: a model of the family feseq") as refusal:
        BoostedModel.load(path)
    assert "delete" not in str(refusal.value)
    with pytest.raises(UserError, match=r"safetensors: was made for toy/len100, .* full/len100"):
        predict_part(path, data / "test.h5", predictions, full_name="full/len100")
    assert not predictions.exists()


def test_a_vocabulary_may_be_larger_than_a_header_of_safetensors(
    data: Path, tmp_path: Path
) -> None:
    model = untrained(data)
    words = [letter * 40_000_000 for letter in "abc"]
    profile = [replace(model.about.feature_map.profile[0], vocabulary=words)]
    feature_map = replace(model.about.feature_map, profile=profile)
    config = replace(MODEL, heads=1)
    about = replace(model.about, settings={"model": asdict(config)}, feature_map=feature_map)
    path = tmp_path / "model.safetensors"
    TrainedModel(about, build_model(config, feature_map)).save(path)
    assert TrainedModel.load(path).about.feature_map == feature_map


def test_a_model_of_simulated_clicks_refuses_real_rows(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    untrained(data, simulated=True).save(path)
    assert TrainedModel.load(path).source(data / "test.h5").rows == 150
    untrained(data, simulated=False).save(path)
    with pytest.raises(UserError, match=r"holds simulated data, .* trained on real data"):
        TrainedModel.load(path).source(data / "test.h5")


def test_a_shared_embedding_is_one_table_after_loading(tmp_path: Path) -> None:
    columns = with_roles(shared=("events",))
    # Many items: the shared table is larger than all else in the model's file.
    items = np.random.default_rng(0).integers(0, 5000, (300, 11)).astype(str)
    table = raw_table(300, item=items[:, 0], events=[",".join(row) for row in items[:, 1:]])
    train_h5, _ = to_train_h5(tmp_path, table, columns=columns)
    fit_feature_map(train_h5, columns, 1).write(tmp_path / "feature_map.json")
    history = TrainedModel.load(train(tmp_path, tmp_path)["model"]).network.history
    assert history.sequence[0].weight is history.target[0].weight
