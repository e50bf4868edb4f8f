"""Event files of TensorBoard say what history.csv says, once for each evaluation."""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from feseq.common.errors import UserError
from feseq.train import loop as trainer
from feseq.train.step import Stepper
from support.trainings import FOUR_EPOCHS, ended_at, train_saving

# Two epochs of three steps.
CONFIG = replace(FOUR_EPOCHS, epochs=2)


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each curve, as TensorBoard reads them."""
    events = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0}).Reload()
    return {
        curve: [(point.step, point.value) for point in events.Scalars(curve)]
        for curve in events.Tags()["scalars"]
    }


def assert_like_history(folder: Path) -> None:
    found, history = points(folder), pd.read_csv(folder / "history.csv")
    rate = found.pop("training/samples_per_second")
    assert [step for step, _ in rate] == [3, 6]
    assert all(value > 0 for _, value in rate)
    for curve, column in (
        ("loss/train", "train_loss"),
        ("loss/validation", "logloss"),
        ("validation/auc", "auc"),
        ("validation/monitor", "monitor"),
        ("training/learning_rate", "learning_rate"),
    ):
        steps, values = zip(*found.pop(curve))
        assert list(steps) == history["step"].tolist() == [3, 6]
        assert values == pytest.approx(history[column].tolist(), rel=1e-6)
    assert found == {}


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    # Before the first evaluation, between two, during the second, and when its state is saved.
    [
        (Stepper, "take", 2),
        (Stepper, "take", 5),
        (trainer, "predict_logits", 2),
        (trainer.Trainer, "_state", 6),
    ],
)
def test_a_resumed_training_has_each_point_once(
    data: Path, tmp_path: Path, owner: object, name: str, call: int
) -> None:
    with ended_at(owner, name, call):
        train_saving(data, tmp_path, CONFIG, tensorboard=True)
    train_saving(data, tmp_path, CONFIG, tensorboard=True)
    assert_like_history(tmp_path)


def test_another_training_of_the_same_name_withdraws_the_points_of_the_first(
    data: Path, tmp_path: Path
) -> None:
    train_saving(data, tmp_path, replace(CONFIG, evaluations_per_epoch=3), tensorboard=True)
    assert len(points(tmp_path)["validation/auc"]) == 6
    train_saving(data, tmp_path, CONFIG, tensorboard=True)
    assert_like_history(tmp_path)


def test_without_the_package_only_those_who_ask_for_curves_are_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="package tensorboard is missing; install it"):
        train_saving(data, tmp_path, CONFIG, tensorboard=True)
    assert train_saving(data, tmp_path, CONFIG)["model"].exists()
    assert not (tmp_path / "tensorboard").exists()
