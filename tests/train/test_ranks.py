"""Several processes at one training: each row once, the same weights, one that saves."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from feseq.common.errors import UserError
from feseq.common.ranks import Ranks, joined
from feseq.config.runtime import Runtime
from feseq.model.device import choose_device, start_runtime
from feseq.train.checkpoint import Checkpoint
from feseq.train.loop import Trainer
from feseq.train.step import Stepper
from support.processes import in_processes
from support.trainings import CPU, OFTEN, SMALL_MODEL, STILL, a_run, fitted

# Dropout; batch norms, whose statistics each rank sees in its share; a draw; an average.
MODEL = replace(SMALL_MODEL, pooling="weighted_sum", score="din")
CONFIG = replace(
    OFTEN,
    batch_size=229,
    evaluations_per_epoch=1,
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
    with joined() as ranks:
        trainer = fitted(data, CONFIG, MODEL, start_runtime(Runtime(device="cpu"), 1, ranks))
    (out / f"rows{ranks.rank}.json").write_text(json.dumps(rows))
    torch.save(trainer.model.state_dict(), out / f"weights{ranks.rank}.pt")


@pytest.mark.workflow
def test_ranks_share_the_batches_of_one_and_end_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    in_processes(3, follow, data, tmp_path)
    rows = [json.loads((tmp_path / f"rows{rank}.json").read_text()) for rank in range(3)]
    with a_run(data, MODEL, CONFIG).opened(CPU) as (source, _):
        batches = [sorted(batch.row_B.tolist()) for batch in source.shuffled(CONFIG.seed, 1)]
    steps = [*zip(*rows, strict=True)]
    assert [sorted(row for share in step for row in share) for step in steps] == batches
    # Two ranks without rows, in the batch of one.
    assert [len(share) for step in steps for share in step].count(0) == 2
    first, *others = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(3)
    )
    # A norm without rows has counted fewer batches; nothing depends on the count.
    names = [name for name in first if not name.endswith("num_batches_tracked")]
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in names)


def test_only_the_first_saves_and_by_its_own_clock(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ranks, "_reduce", lambda ranks, tensor, operation: tensor)
    # All gather what is saved.
    gathered: list[int] = []
    save = Trainer._save
    monkeypatch.setattr(Trainer, "_save", lambda self: (gathered.append(self.step), save(self))[1])
    for rank, expected in ((0, [30]), (1, [])):
        saves: list[int] = []
        saved = Checkpoint(tmp_path, "")
        monkeypatch.setattr(saved, "is_due", lambda: rank > 0)  # noqa: B023
        monkeypatch.setattr(saved, "save", lambda state: saves.append(state["stepper"]["step"]))  # noqa: B023
        machine = replace(CPU, ranks=Ranks(rank, 2))
        config = replace(OFTEN, epochs=1, evaluations_per_epoch=1)
        fitted(data, config, STILL, machine, checkpoint=saved)
        # Before the evaluation alone.
        assert saves == expected
    assert gathered == [30, 30]


def test_all_resume_from_the_same_state_or_none_does(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another rank is at a later step.
    monkeypatch.setattr(Ranks, "largest", lambda ranks, *steps: [step + 1 for step in steps])
    with pytest.raises(UserError, match="could read its saved state"):
        fitted(data, OFTEN, STILL, replace(CPU, ranks=Ranks(0, 2)))


def test_fewer_gpus_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"train.gpus is 4, and PyTorch finds 1 CUDA devices"):
        choose_device("auto", Ranks(1, 8, 1, 4))


@pytest.mark.parametrize(
    "place",
    [{}, {"RANK": "x"}, {"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": ""}, {"LOCAL_RANK": "1"}],
)
def test_an_environment_that_is_not_torchruns_is_named(
    monkeypatch: pytest.MonkeyPatch, place: dict[str, str]
) -> None:
    for name, value in ({"RANK": "0", "WORLD_SIZE": "2"} | place if place else {}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="unset TORCHELASTIC_RUN_ID"), joined():
        pass
