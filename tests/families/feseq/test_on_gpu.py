"""What can be known of a GPU without one: tensors are where they must be, and how often one waits.

`support.pretended_gpu` says what is pretended.
"""

import importlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from feseq.batches import batch as batch_module
from feseq.common.errors import UserError
from feseq.common.ranks import Ranks
from feseq.config.runtime import Runtime
from feseq.evaluate.importance import measure_importance
from feseq.families.feseq import model_file
from feseq.families.feseq.importance import NetworkPredict
from feseq.families.feseq.model_file import TrainedModel, load
from feseq.families.feseq.network import FESeq
from feseq.families.feseq.network.device import Machine, start_runtime
from feseq.families.feseq.settings import ModelConfig
from feseq.families.feseq.training.loop import Trainer
from feseq.families.feseq.training.optimizer import make_optimizer
from feseq.families.feseq.training.step import Stepper
from feseq.features.feature_map import FeatureMap
from feseq.storage.store import H5Table
from support import REPOSITORY
from support.networks import (
    CONFIG,
    SIZES,
    make_batch,
    make_model,
    random_model,
    short_of_memory,
    single,
)
from support.pretended_gpu import CUDA, OnGpu, PretendedGpu, pretended_gpu
from support.trainings import FOUR_EPOCHS, STILL, TRAIN, ended_at, same_weights, train

LENGTHS = [3, 0, 6, 1]
PARTS = {
    "the briefing's": CONFIG,
    "others": replace(
        CONFIG,
        causal=True,
        times=True,
        layer_norm=False,
        numerics=("direct", "buckets"),
        pooling="concat",
        shortcuts=True,
        crossing=4,
        mlp_cross_rank=2,
        unknown_share=0.2,
    ),
    "attention": replace(
        CONFIG,
        interaction="autoint",
        pooling="weighted_sum",
        score="din",
        times=True,
        time_log_base=2.0,
    ),
}
SIZED = replace(SIZES, context=(5, 9), missing=2)


def a_stepper(
    config: ModelConfig = CONFIG,
    precision: torch.dtype = torch.float32,
    device: str = "cuda",
    ranks: Ranks = Ranks(),  # noqa: B008
) -> Stepper:
    machine = Machine(torch.device(device), precision, ranks=ranks)
    model = make_model(config, SIZED).float().train().to(machine.device)
    config = replace(TRAIN, embedding_second_moment="table", embedding_l2=0.01)
    return Stepper(model, make_optimizer(model, config), machine, config)


def waits(gpu: PretendedGpu, work: Callable[[], object]) -> Counter[str]:
    before = gpu.waits.copy()
    work()
    return gpu.waits - before


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, torch.float32) for name in PARTS), ("the briefing's", torch.float16)],
)
def test_a_step_does_not_wait_for_the_gpu(name: str, precision: torch.dtype) -> None:
    with pretended_gpu() as gpu:
        stepper = a_stepper(PARTS[name], precision)
        for seed in range(2):
            batch = single(make_batch(LENGTHS, SIZED, seed))
            waited = waits(gpu, lambda: stepper.take(batch))  # noqa: B023
        assert not waited
        assert waits(gpu, stepper.mean_loss).total() == 1
    # Without dropout the losses are the CPU's: nothing is missing, and a scale changes nothing.
    still = replace(PARTS[name], dropout=0.0, unknown_share=0.0)
    with pretended_gpu():
        curve = losses(a_stepper(still, precision))
    assert curve == pytest.approx(losses(a_stepper(still, device="cpu")), rel=1e-5)


def losses(stepper: Stepper) -> list[float]:
    curve = []
    for seed in range(3):
        stepper.take(single(make_batch(LENGTHS, SIZED, seed)))
        curve.append(stepper.mean_loss())
    return curve


def test_a_pinned_batch_is_copied_beside_the_steps_and_kept_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = MagicMock()
    monkeypatch.setattr(batch_module, "copy_stream", lambda device: "copying")
    monkeypatch.setattr(torch.cuda, "current_stream", cuda.current_stream)
    monkeypatch.setattr(torch.cuda, "stream", cuda.stream)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: True)
    # The memory of a tensor that is not kept for the step would be used again too early.
    kept: list[torch.Tensor] = []
    monkeypatch.setattr(OnGpu, "record_stream", lambda copy, stream: kept.append(copy))
    batch = single(make_batch(LENGTHS, SIZED))
    with pretended_gpu() as gpu:
        moved = batch.to(CUDA)
        assert not gpu.waits
    cuda.stream.assert_called_once_with("copying")
    cuda.current_stream.return_value.wait_stream.assert_called_once_with("copying")
    parts = [(vars(each), vars(each.layout), each.numbers) for each in (batch, moved)]
    pairs = [
        (values, after[name])
        for before, after in zip(*parts)
        for name, values in before.items()
        if isinstance(values, torch.Tensor)
    ]
    assert all(torch.equal(copy.values, values) for values, copy in pairs)
    assert {*map(id, kept)} == {id(copy) for _, copy in pairs}


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


def test_the_loop_waits_for_no_step_and_once_for_many_predictions(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model_file.POSITIONS_PER_BATCH, "cuda", 100)
    counts: dict[str, list[int]] = {"_take": [], "_predict": []}

    def counting(name: str) -> None:
        method = getattr(Trainer, name)

        def call(*arguments: Any) -> Any:
            result: list[Any] = []
            counts[name].append(waits(gpu, lambda: result.append(method(*arguments))).total())
            return result[0]

        monkeypatch.setattr(Trainer, name, call)

    with pretended_gpu() as gpu:
        for name in counts:
            counting(name)
        config = replace(FOUR_EPOCHS, epochs=2, weight_average=0.5)
        train(data, tmp_path, config, STILL, **GPU_RUN)
        assert torch.are_deterministic_algorithms_enabled()
        # With it, fused attention would round differently in each run.
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    # Three steps an epoch; the logits of many small batches go to the host together.
    assert counts == {"_take": [0] * 6, "_predict": [1] * 2}


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


def test_a_rank_without_rows_takes_part_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranks, "add", lambda ranks, tensor: tensor)
    with pretended_gpu():
        stepper = a_stepper(precision=torch.float16, ranks=Ranks(1, 2))
        before = [parameter.detach().clone() for parameter in stepper.model.parameters()]
        stepper.take(replace(single(make_batch([], SIZED)), shared_rows=1))
        for old, new in zip(before, stepper.model.parameters()):
            torch.testing.assert_close(new, old, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        (lambda logit_B: logit_B + torch.zeros(len(logit_B)), None),
        (lambda logit_B: logit_B / logit_B.detach().max().item(), "_local_scalar_dense"),
        (lambda logit_B: logit_B + logit_B[logit_B > 0].sum(), "index by a mask"),
        (lambda logit_B: logit_B + torch.ones(4).to(logit_B.device), "blocking copy to the GPU"),
        (lambda logit_B: logit_B + logit_B.detach().nonzero().sum(), "nonzero"),
    ],
)
def test_what_is_pretended_finds_a_wait_and_a_tensor_on_the_host(
    monkeypatch: pytest.MonkeyPatch, mistake: Any, name: str | None
) -> None:
    forward, batch = FESeq.forward, single(make_batch(LENGTHS, SIZED))
    monkeypatch.setattr(FESeq, "forward", lambda network, b: mistake(forward(network, b)))
    with pretended_gpu() as gpu:
        stepper = a_stepper()
        if name is None:
            with pytest.raises(RuntimeError, match=r"devices: \[4\] on cuda, \[4\] on cpu"):
                stepper.take(batch)
        else:
            assert waits(gpu, lambda: stepper.take(batch))[name] == 1


@pytest.mark.workflow
@pytest.mark.parametrize("section", ["card", "speed_toy", "waits", "memory", "small_cards"])
def test_a_section_of_the_benchmark_runs(
    data: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    benchmark: Any = importlib.import_module("gpu")
    monkeypatch.setattr(benchmark, "matmul_peak", lambda *_: 50.0)
    work = benchmark.SECTIONS[section][0]
    with pretended_gpu(memory=80 << 30):
        rows = list(work(benchmark.Setting(data, "cuda", tiny=True, threads=1)))
    assert rows
    assert all(len(row) == benchmark.HEAD.splitlines()[0].count("|") - 1 for row in rows)
    assert benchmark.NEEDS_GPU not in {cell for row in rows for cell in row}
