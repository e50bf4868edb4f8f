"""Warm start: codes and weights of an earlier model are kept, new ones join them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feseq.common.errors import UserError
from feseq.config.model import ModelConfig
from feseq.dataset.extension import extended
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.store import H5Table
from feseq.model.build import build_model
from feseq.predict.model_file import TrainedModel
from feseq.train.step import Stepper
from feseq.train.warm_start import WarmStart
from support.networks import random_model
from support.raw_tables import COLUMNS, raw_table, to_train_h5, with_roles
from support.shop import changed, refused, snakemake
from support.trainings import FOUR_EPOCHS, counted_steps, ended_at, same_weights, train_saving

ROLES = with_roles(shared=("events",), context=("unused",), ids=("age",))
# A table of each kind.
MODEL = ModelConfig(
    max_len=6,
    embedding_dim=4,
    interaction_layers=1,
    transformer_layers=1,
    heads=2,
    mlp=(8,),
    pooling="weighted_sum",
    numerics=("linear", "buckets"),
    scaling="quantile",
    history_statistics=("length", "newest"),
    levels=256,
    crossing=3,
    mlp_cross_rank=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Older and newer rows as the train and the valid file of one draw."""
    random = np.random.default_rng(4)
    events = [random.integers(0, 60, length) for length in random.integers(0, 12, 150)]
    table = raw_table(
        150,
        events=[",".join(map(str, row)) for row in events],
        item=[str(item) if item < 70 else f"kind {item}" for item in random.integers(0, 90, 150)],
        unused=[f"u{place}" for place in random.integers(0, 40, 150)],
    )
    folder = tmp_path_factory.mktemp("days")
    to_train_h5(folder, table, columns=ROLES)
    return folder


def fitted(folder: Path, *days: str, roles: Any = ROLES) -> FeatureMap:
    files = [folder / f"{day}.h5" for day in days]
    return fit_feature_map(files[0] if len(files) == 1 else files, roles, 1)


def vocabularies(found: FeatureMap) -> list[Any]:
    fields = (found.profile, found.targets, found.sequences, found.context, found.ids)
    return [field for kind in fields for field in kind]


def test_the_extended_map_has_the_codes_that_a_fit_to_all_rows_has(folder: Path) -> None:
    old, new = fitted(folder, "train"), fitted(folder, "valid")
    both = extended(old, new)
    everything = fitted(folder, "train", "valid")
    assert vocabularies(both) == vocabularies(everything)
    assert vocabularies(both) not in (vocabularies(old), vocabularies(new))
    # Numbers are read as the weights have learned to.
    assert (both.numeric, both.levels, both.statistics) == (old.numeric, old.levels, old.statistics)
    assert (both.fitted_on, extended(old, old)) == (new.fitted_on, old)


def earlier_model(folder: Path, feature_map: FeatureMap) -> Path:
    path = folder / "earlier.safetensors"
    random_model(MODEL, feature_map).save(path)
    return path


@pytest.mark.parametrize("roles", [ROLES, COLUMNS], ids=["shared", "apart"])
def test_older_rows_get_their_logits_and_new_codes_their_start_values(
    folder: Path, tmp_path: Path, roles: Any
) -> None:
    path = earlier_model(tmp_path, fitted(folder, "train", roles=roles))
    start = WarmStart.read(path, MODEL, fitted(folder, "valid", roles=roles))
    torch.manual_seed(1)
    network = build_model(MODEL, start.feature_map)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    with H5Table(folder / "train.h5") as train:
        start.carry_into(network, train)
    # Codes of the older rows at other places than the indices that the earlier map gives them.
    earlier = TrainedModel.load(path)
    about = replace(earlier.about, feature_map=start.feature_map)
    newer = TrainedModel(about, network)
    with H5Table(folder / "train.h5") as train:
        logits = [model.predict(train) for model in (earlier, newer)]
    np.testing.assert_array_equal(*logits)
    # No other row of a table was touched.
    for name, value in network.state_dict().items():
        added = len(value) - len(earlier.network.state_dict()[name]) if value.ndim else 0
        if added:
            assert (value == fresh[name]).all(1).sum() == added
    assert "history.target.0.weight" in fresh


def test_columns_settings_and_files_that_do_not_fit_are_clear_errors(
    folder: Path, tmp_path: Path
) -> None:
    path, here = earlier_model(tmp_path, fitted(folder, "train")), fitted(folder, "valid")

    def read(path: Path = path, config: ModelConfig = MODEL, found: FeatureMap = here) -> WarmStart:
        return WarmStart.read(path, config, found)

    read(config=replace(MODEL, dropout=0.4, embedding_std=0.1))
    for found, message in (
        (
            fitted(folder, "valid", roles=COLUMNS),
            "'age' is numeric, and for the earlier model it was context and numeric;",
        ),
        (
            replace(here, profile=[]),
            "'country' is unused, and for the earlier model it was profile",
        ),
        (
            replace(here, numeric=here.numeric[:1]),
            "'age' is context, and .* was context and numeric;",
        ),
    ):
        with pytest.raises(UserError, match=f"train.start_from: column .*{message}"):
            read(found=found)
    other = replace(MODEL, heads=1, causal=True, dropout=0.9)
    with pytest.raises(
        UserError, match="network: heads 2 there, 1 here; causal False there, True here;"
    ):
        read(config=other)
    (tmp_path / "other").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="other: not a complete model file"):
        read(tmp_path / "other")
    with H5Table(folder / "train.h5") as train:
        train.source["simulated"] = True
        with pytest.raises(UserError, match="holds simulated data, and the model was trained on"):
            read().carry_into(build_model(MODEL, read().feature_map), train)


def test_an_interrupted_training_goes_on_from_its_state_and_not_from_the_earlier_model(
    data: Path, tmp_path: Path
) -> None:
    earlier = train_saving(data, tmp_path / "earlier", replace(FOUR_EPOCHS, epochs=1))["model"]
    config = replace(FOUR_EPOCHS, epochs=2, start_from=str(earlier))
    whole = train_saving(data, tmp_path / "whole", config)
    with ended_at(Stepper, "take", 4):
        train_saving(data, tmp_path / "resumed", config)
    with counted_steps() as steps:
        resumed = train_saving(data, tmp_path / "resumed", config)
    assert len(steps) == 3
    scratch = train_saving(data, tmp_path / "scratch", replace(config, start_from=None))
    assert same_weights(whole["model"], resumed["model"])
    mlp, other = (TrainedModel.load(run["model"]).network.mlp for run in (whole, scratch))
    assert not torch.equal(mlp[0].weight, other[0].weight)
    assert not torch.equal(mlp[3].bias, other[3].bias)
    # Another earlier model is another training.
    with counted_steps() as steps:
        train_saving(data, tmp_path / "resumed", replace(config, start_from=str(whole["model"])))
    assert len(steps) == 6


@pytest.mark.workflow
def test_the_workflow_goes_on_from_a_file_and_retrains_where_its_content_changes(
    copied: Path,
) -> None:
    target = "results/toy/len20/model.safetensors"
    earlier = copied / "earlier.safetensors"
    earlier.write_bytes((copied / target).read_bytes())
    config = changed("train.start_from", "earlier.safetensors")
    code, output = snakemake(copied, target, config=config)
    assert code == 0, output
    assert (
        "going on from earlier.safetensors" in (copied / "results/toy/len20/train.log").read_text()
    )
    assert earlier.read_bytes() != (copied / target).read_bytes()
    earlier.touch()
    assert "Nothing to be done" in snakemake(copied, "-n", target, config=config)[1]
    before = earlier.stat()
    earlier.write_bytes((copied / target).read_bytes())
    os.utime(earlier, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "now: 'start_version=" in snakemake(copied, "-n", target, config=config)[1]
    (copied / "link").symlink_to("results")
    own = (target, f"./{target}", target.replace("results", "link"), str(copied / target))
    wrong = [(start, "is the file of the very model") for start in own]
    for start, message in (*wrong, ("no", "no: no such file")):
        config = changed("train.start_from", start)
        output = refused(copied, "-n", target, config=config)
        assert f"train.start_from: {os.path.normpath(start)}" in output
        assert message in output
