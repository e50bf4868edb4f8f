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
from feseq.config.runtime import Runtime
from feseq.model.device import choose_device, start_runtime
from feseq.train.checkpoint import Checkpoint
from feseq.train.run import TrainingRun
from feseq.train.step import Stepper
from support.processes import in_processes
from support.trainings import CPU, OFTEN, SMALL_MODEL, STILL, a_run

pytestmark = pytest.mark.workflow


# Dropout; batch norms, whose statistics each rank sees in its share; a draw; an average.
MODEL = replace(SMALL_MODEL, pooling="weighted_sum", score="din")
CONFIG = replace(
    OFTEN,
    negative_share=0.5,
    weight_average=0.8,
    embedding_second_moment="table",
    epochs=1,
    schedule="cosine",
)


def follow(data: Path, out: Path) -> None:
    """Train as one of several; write the rows of each step, and the weights at the end."""
    rows: list[list[int]] = []
    take = Stepper.take

    def noted(self: Stepper, batch: Any) -> None:
        rows.append(batch.row_B.tolist())
        take(self, batch)

    Stepper.take = noted  # type: ignore[method-assign]
    network = fit(a_run(data, MODEL, CONFIG))
    (out / f"rows{process_rank()}.json").write_text(json.dumps(rows))
    torch.save(network.state_dict(), out / f"weights{process_rank()}.pt")


def fit(run: TrainingRun, saved: Checkpoint | None = None) -> torch.nn.Module:
    """Train as one of several."""
    with joined() as ranks:
        machine = start_runtime(Runtime(device="cpu"), 1, ranks)
        with run.opened(machine) as sources:
            trainer = run.trainer(sources, machine, checkpoint=saved)
            trainer.fit()
    return trainer.model


def test_ranks_share_the_batches_of_one_and_end_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    in_processes(3, follow, data, tmp_path)
    rows = [json.loads((tmp_path / f"rows{rank}.json").read_text()) for rank in range(3)]
    with a_run(data, MODEL, CONFIG).opened(CPU) as (source, _):
        batches = [sorted(batch.row_B.tolist()) for batch in source.shuffled(CONFIG.seed, 1)]
    steps = zip(*rows, strict=True)
    assert [sorted(row for share in step for row in share) for step in steps] == batches
    first, *others = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(3)
    )
    # A norm without rows has counted fewer batches; nothing depends on the count.
    names = [name for name in first if not name.endswith("num_batches_tracked")]
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in names)


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
    fit(a_run(data, STILL, replace(OFTEN, epochs=1, evaluations_per_epoch=1)), saved)
    (out / f"saves{rank}.json").write_text(json.dumps(saves))


def lose_state(data: Path, out: Path) -> None:
    """Resume from a state that the second rank cannot read."""
    saved = Checkpoint(out, "")
    if process_rank():
        saved.load = lambda: None  # type: ignore[method-assign]
    fit(a_run(data, STILL, OFTEN), saved)


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
