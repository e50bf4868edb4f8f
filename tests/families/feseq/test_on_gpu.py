"""What can be known of a GPU without one: tensors are where they must be.

`support.pretended_gpu` says what is pretended.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feseq.common.errors import UserError
from feseq.config.runtime import Runtime
from feseq.evaluate.importance import measure_importance
from feseq.families.feseq.importance import NetworkPredict
from feseq.families.feseq.model_file import TrainedModel, load
from feseq.families.feseq.network.device import start_runtime
from feseq.families.feseq.training.step import Stepper
from feseq.features.feature_map import FeatureMap
from feseq.storage.store import H5Table
from support.networks import (
    random_model,
    short_of_memory,
)
from support.pretended_gpu import pretended_gpu
from support.trainings import FOUR_EPOCHS, STILL, ended_at, same_weights, train

WEIGHTED = replace(STILL, interaction="autoint", pooling="weighted_sum")
GPU_RUN: dict[str, Any] = {"device": "cuda", "precision": "float32"}


def test_a_training_on_a_gpu_is_evaluated_resumed_and_predicts_like_one_on_the_cpu(
    data: Path, tmp_path: Path
) -> None:
    config = replace(FOUR_EPOCHS, epochs=2)
    with pretended_gpu():
        whole = train(data, tmp_path / "whole", config, WEIGHTED, **GPU_RUN)
        with ended_at(Stepper, "take", 5):
            train(data, tmp_path / "cut", config, WEIGHTED, **GPU_RUN)
        resumed = train(data, tmp_path / "cut", config, WEIGHTED, **GPU_RUN)
        assert same_weights(whole["model"], resumed["model"])
        on_gpu = results_of(data, load(whole["model"], "", Runtime(**GPU_RUN), 1))
        files = (whole["model"], data / "valid.h5")
        measure_importance(*files, tmp_path / "gpu.json", runtime=Runtime(**GPU_RUN))
    measure_importance(*files, tmp_path / "cpu.json")
    assert (tmp_path / "gpu.json").read_text() == (tmp_path / "cpu.json").read_text()
    trained = train(data, tmp_path / "cpu", config, WEIGHTED)
    on_cpu = results_of(data, TrainedModel.load(trained["model"]))
    for actual, expected in zip(on_gpu, on_cpu):
        np.testing.assert_allclose(actual, expected, atol=2e-4)


def results_of(data: Path, model: TrainedModel) -> list[np.ndarray]:
    """Logits, and those with kept histories."""
    logit = model.predict(data / "valid.h5")
    with H5Table(data / "valid.h5") as table:
        block = table.read(0, table.rows)
        kept = NetworkPredict(model, table, block)(replace(block, numeric=block.numeric.copy()))
    return [logit, kept]


def test_what_does_not_fit_is_predicted_and_evaluated_in_halves(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fields = FeatureMap.read(data / "feature_map.json")
    model = random_model(WEIGHTED, fields, simulated=True)
    expected = results_of(data, model)
    with pretended_gpu():
        model = replace(model, machine=start_runtime(Runtime(**GPU_RUN), 1))
        short_of_memory(monkeypatch, 40)
        results = results_of(data, model)
        assert caplog.text.count("out of GPU memory: predicting 50 rows in two halves") == 2 * 2
        for of_halves, of_all in zip(results, expected):
            np.testing.assert_allclose(of_halves, of_all, rtol=1e-4, atol=1e-5)
        short_of_memory(monkeypatch, 0)
        with pytest.raises(UserError, match="does not hold the prediction of a single row"):
            results_of(data, model)
