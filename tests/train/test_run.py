"""Training: what it keeps, when it cuts and stops, and that the same run gives the same model."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from feseq.common.errors import UserError
from feseq.dataset.batch import Batch
from feseq.model.history import TimeEmbedding
from feseq.predict.model_file import predict_logits
from feseq.train.loop import Trainer
from support.networks import make_batch
from support.trainings import (
    CPU,
    MODEL,
    SMALL_MODEL,
    TRAIN,
    a_trainer,
    fitted,
    same_weights,
    script_monitor,
    train,
)


def test_the_same_run_gives_the_same_weights_and_its_files_agree(
    data: Path, tmp_path: Path
) -> None:
    outputs, second, other = (
        train(data, tmp_path / name, config, SMALL_MODEL)
        for name, config in (("a", TRAIN), ("b", TRAIN), ("c", replace(TRAIN, seed=43)))
    )
    assert same_weights(outputs["model"], second["model"])
    assert not same_weights(outputs["model"], other["model"])
    history = pd.read_csv(outputs["history"])
    about = json.loads(outputs["training"].read_text())
    assert history["epoch"].tolist() == [1, 2]
    best = history.loc[(history["auc"] - history["logloss"]).argmax()]
    assert [about["valid_auc"], about["valid_logloss"]] == best[["auc", "logloss"]].tolist()
    assert about["train_rows"] + about["valid_rows"] == 1000
    assert about["simulated_data"] is True


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_an_intercept_learned_from_draws_predicts_the_click_rate(data: Path, share: float) -> None:
    with a_trainer(data, replace(TRAIN, negative_share=share)) as trainer:
        model, source = trainer.model, trainer.train
        label = torch.cat([batch.label_B for batch in source.shuffled(1, 1)])
        logit = math.log(label.sum() / (1 - label).sum())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.mlp[-1].bias.fill_(logit)
        assert mean_probability(trainer) == pytest.approx(trainer.click_rate, rel=1e-6)
        # The loss is that of the draws.
        assert model.train()(next(source.in_order()))[0].item() == pytest.approx(logit)
    # Or the training starts there.
    config = replace(TRAIN, negative_share=share, start_at_click_rate=True)
    with a_trainer(data, config) as trainer:
        torch.nn.init.zeros_(trainer.model.mlp[-1].weight)
        label = trainer.train.table.column("label")
        expected = (label.sum() + 0.5) / (len(label) + 1)
        assert mean_probability(trainer) == pytest.approx(expected, rel=1e-5)


def mean_probability(trainer: Trainer) -> float:
    logit = torch.from_numpy(predict_logits(trainer.model, trainer.train, CPU))
    return logit.sigmoid().mean().item()


def test_best_weights_are_kept_and_the_learning_rate_cut(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TRAIN, epochs=4, patience=2)
    script_monitor(monkeypatch, 0.6, 0.7, 0.65, 0.72)
    last = fitted(data, config)
    rates = [evaluation.learning_rate for evaluation in last.history]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4])
    # The same run with other metrics goes back to the weights of its second epoch.
    script_monitor(monkeypatch, 0.6, 0.7, 0.65, 0.64)
    second = fitted(data, config)
    script_monitor(monkeypatch, 0.6, 0.7)
    half = fitted(data, replace(config, epochs=2))
    one, other, third = (each.model.mlp[0].weight for each in (second, half, last))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_the_average_of_the_weights_is_evaluated_and_kept(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TRAIN, epochs=1, batch_size=100)
    with (
        a_trainer(data, replace(config, weight_average=0.8)) as trainer,
        a_trainer(data, config) as plain,
    ):
        expected: dict[str, torch.Tensor] = {}
        take = plain.stepper.take

        def averaged(batch: Batch) -> None:
            take(batch)
            for name, weight in plain.model.named_parameters():
                now = weight.detach().double()
                before = expected.get(name, now)
                expected[name] = 0.8 * before + 0.2 * now

        monkeypatch.setattr(plain.stepper, "take", averaged)
        plain.fit()
        trainer.fit()
        for name, weight in trainer.model.named_parameters():
            torch.testing.assert_close(weight.double(), expected[name], rtol=0, atol=1e-6)
        label = trainer.valid.table.column("label")
        auc = roc_auc_score(label, predict_logits(trainer.model, trainer.valid, CPU))
        assert auc == pytest.approx(trainer.best.auc, abs=1e-9)
        assert trainer.history[-1].train_loss == plain.history[-1].train_loss


def test_looks_within_a_long_epoch_find_better_weights_and_change_nothing_else(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TRAIN, epochs=3, patience=2)
    script_monitor(monkeypatch, 0.6, 0.5, 0.4)
    plain = fitted(data, config)
    monkeypatch.setattr("feseq.train.schedule.LONG_EPOCH_STEPS", 2)
    script_monitor(monkeypatch, 0.1, 0.3, 0.6, 0.61, 0.2, 0.5, 0.9, 0.8, 0.4)
    looking = fitted(data, config)
    assert [evaluation.step for evaluation in looking.history] == list(range(1, 10))
    for step in (3, 6, 9):
        found, expected = looking.history[step - 1], plain.history[step // 3 - 1]
        assert (found.auc, found.learning_rate) == (expected.auc, expected.learning_rate)
    assert looking.learning_rate == plain.learning_rate
    assert looking.best.step == 7


def test_memory_decides_over_micro_batches_and_refuses_what_cannot_fit(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = json.loads(train(data, tmp_path, memory_gib=0.02)["training"].read_text())
    assert 1 <= metrics["micro_batch_rows"] < metrics["batch_rows"]
    # Batches shrink loudly on small data.
    assert replace(TRAIN, batch_size=512, min_steps_per_epoch=100).batch_rows(900) == 9
    assert "batch_size 512" in caplog.text
    with pytest.raises(UserError, match=r"3 MiB of memory \(runtime.memory_gib\) do not hold"):
        train(data, tmp_path, memory_gib=0.0026)


@pytest.mark.parametrize(
    ("elapsed", "base", "warning"),
    [
        ([0, 0, 0], None, "are later than their row"),
        ([5_000, 9_000, 70_000], None, "are in the last time bucket"),
        ([5_000, 9_000, 70_000], 2.0, None),
        ([0, 40, 70_000], None, None),
    ],
)
def test_times_that_tell_nothing_are_worth_a_warning(
    elapsed: list[int], base: float | None, warning: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    batch = replace(make_batch([3]), elapsed_T=torch.tensor(elapsed))
    config = replace(MODEL, times=True, time_log_base=base)
    TimeEmbedding(config, embedding_dim=4).check(batch)
    assert (warning or "") in caplog.text
    assert bool(caplog.text) == (warning is not None)
