"""Several processes at one training: each row once, the same weights, one that saves."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from feseq.common.errors import UserError
from feseq.common.ranks import Ranks, joined, process_rank
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.dataset.feature_map import FeatureMap
from feseq.model.device import choose_device, start_runtime
from feseq.train.checkpoint import Checkpoint
from feseq.train.run import TrainingRun, make_trainer, opened
from feseq.train.step import Stepper
from support.processes import in_processes
from support.trainings import CPU, EACH_STEP, SMALL_MODEL, STILL, a_run

pytestmark = pytest.mark.workflow


def follow(data: Path, out: Path, model: ModelConfig, settings: dict[str, Any]) -> None:
    """Train as one of several; write the rows of each step, and the weights at the end."""
    rows: list[list[int]] = []
    take = Stepper.take

    def noted(self: Stepper, batch: Any) -> None:
        rows.append(batch.row_B.tolist())
        take(self, batch)

    Stepper.take = noted  # type: ignore[method-assign]
    network = fit(a_run(data, model, replace(EACH_STEP, **{"evaluations_per_epoch": 1} | settings)))
    (out / f"rows{process_rank()}.json").write_text(json.dumps(rows))
    torch.save(network.state_dict(), out / f"weights{process_rank()}.pt")


def fit(run: TrainingRun, saved: Checkpoint | None = None) -> torch.nn.Module:
    """Train as one of several."""
    feature_map = FeatureMap.read(run.feature_map_json)
    with joined() as ranks:
        machine = start_runtime(Runtime(device="cpu"), 1, ranks)
        with opened(run, feature_map, machine) as sources:
            trainer = make_trainer(
                run, feature_map, sources, machine, checkpoint=saved, verbosity=0
            )
            trainer.fit()
    return trainer.model


def test_ranks_see_each_row_once_an_epoch_and_end_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    # With dropout, and with batch norms, whose statistics each rank sees in its share.
    model = replace(SMALL_MODEL, pooling="weighted_sum", score="din")
    in_processes(3, follow, data, tmp_path, model, {})
    rows = [json.loads((tmp_path / f"rows{rank}.json").read_text()) for rank in range(3)]
    assert {len(steps) for steps in rows} == {60}
    for epoch in (slice(0, 30), slice(30, 60)):
        seen = sorted(row for steps in rows for step in steps[epoch] for row in step)
        assert seen == list(range(900))
    # The step of one row, in which two ranks have none.
    assert sorted(len(steps[i]) for steps in rows for i in range(30)).count(0) == 2
    first, *others = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(3)
    )
    for other in others:
        # A norm without rows has counted fewer batches; nothing depends on the count.
        names = [name for name in first if not name.endswith("num_batches_tracked")]
        assert all(torch.equal(first[name], other[name]) for name in names)


def test_ranks_draw_the_same_share_and_keep_the_same_average(data: Path, tmp_path: Path) -> None:
    settings = {
        "negative_share": 0.5,
        "weight_average": 0.8,
        "embedding_second_moment": "table",
        "epochs": 1,
        "schedule": "cosine",
    }
    in_processes(2, follow, data, tmp_path, STILL, settings)
    rows = [json.loads((tmp_path / f"rows{rank}.json").read_text()) for rank in range(2)]
    run = a_run(data, STILL, replace(EACH_STEP, **{"evaluations_per_epoch": 1} | settings))
    with opened(run, FeatureMap.read(run.feature_map_json), CPU) as (source, _):
        batches = [batch.row_B.tolist() for batch in source.shuffled(run.train_config.seed, 1)]
    assert [sorted(step[0] + step[1]) for step in zip(*rows)] == list(map(sorted, batches))
    first, other = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert all(torch.equal(first[name], other[name]) for name in first)


def follow_saves(data: Path, out: Path) -> None:
    """Train with a state that is due for the second rank at each step; count how often it is."""
    rank = process_rank()
    # The one that does not save does not learn when the other did.
    saved = Checkpoint(out, "")
    saved.is_due = lambda: rank > 0  # type: ignore[method-assign]
    saves, save = [], saved.save

    def counted(state: dict[str, Any]) -> bool:
        saves.append(state["stepper"]["step"])
        return save(state)

    saved.save = counted  # type: ignore[method-assign]
    fit(a_run(data, STILL, replace(EACH_STEP, epochs=1, evaluations_per_epoch=1)), saved)
    (out / f"saves{rank}.json").write_text(json.dumps(saves))


def lose_state(data: Path, out: Path) -> None:
    """Resume from a state that the second rank cannot read."""
    saved = Checkpoint(out, "")
    if process_rank():
        saved.load = lambda: None  # type: ignore[method-assign]
    fit(a_run(data, STILL, EACH_STEP), saved)


def test_the_first_saves_by_its_own_clock_and_all_resume_from_the_same_state_or_none_does(
    data: Path, tmp_path: Path
) -> None:
    in_processes(2, follow_saves, data, tmp_path)
    # After the evaluation alone.
    assert json.loads((tmp_path / "saves0.json").read_text()) == [30]
    assert json.loads((tmp_path / "saves1.json").read_text()) == []
    before = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(ChildFailedError):
        in_processes(2, lose_state, data, tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_fewer_gpus_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"train.gpus is 4, and PyTorch finds 1 CUDA devices"):
        choose_device("auto", Ranks(1, 8, 1, 4))
