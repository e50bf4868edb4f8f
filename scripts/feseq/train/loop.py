"""The loop of one training: steps, evaluations, learning rate, early stopping, best weights."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..common.errors import NotFiniteError
from ..common.progress import Progress, progress
from ..common.signals import Signals
from ..config.train import TrainConfig
from ..dataset.batch import Batch
from ..dataset.batches import BatchSource
from ..model import FESeq
from ..model.build import placed
from ..model.device import Machine
from ..predict.prediction import predict_logits
from .checkpoint import Checkpoint
from .learning_rate import LearningRate, set_learning_rate
from .monitor import EarlyStopping, Schedule, monitored_metrics
from .optimizer import make_optimizer
from .replay import Replay
from .step import Stepper

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """One row of history.csv. `train_loss` is the mean since the evaluation before."""

    epoch: int
    step: int
    train_loss: float
    auc: float
    logloss: float
    monitor: float
    learning_rate: float
    seconds: float


class Trainer:
    """One training run. `fit` leaves the best weights in `model` and fills `history`.

    With a `checkpoint`, it goes on from the state there, if any, and saves its own: now and then,
    before each evaluation, and when a signal ends the process. `micro_rows` limits the rows that
    a step holds in memory at once. `after_evaluation` may raise to end the training.

    With `replay`, it repeats another run's steps and learning rates, and needs no `valid`: that
    run's metrics stand for its own.

    Each of several ranks has a trainer. They train on shares of the same batches, predict shares
    of the validation rows, and agree on all that they decide.
    """

    def __init__(
        self,
        model: FESeq,
        train: BatchSource,
        valid: BatchSource | None,
        config: TrainConfig,
        machine: Machine,
        *,
        micro_rows: int | None = None,
        checkpoint: Checkpoint | None = None,
        replay: Replay | None = None,
        after_evaluation: Callable[["Trainer"], None] | None = None,
        verbosity: int = 0,
    ) -> None:
        self.model = placed(model, machine)
        self.train, self.valid = train, valid
        self.config = config
        self.machine, self.ranks = machine, machine.ranks
        self.checkpoint, self.replay = checkpoint, replay
        self.after_evaluation = after_evaluation
        # Rank 0 shows the progress, with the losses of all.
        self.verbosity = verbosity if self.ranks.is_first else 0
        self.stepper = Stepper(
            model,
            make_optimizer(model, config),
            machine,
            micro_rows=micro_rows,
            pos_weight=config.pos_weight,
            max_grad_norm=config.max_grad_norm,
            embedding_l2=config.embedding_l2,
            seed=config.seed,
        )
        steps = config.epochs * train.batches_per_epoch
        self.learning_rate = LearningRate(config.learning_rate, steps, config.schedule)
        # The network that is evaluated and kept: with `weight_average`, another one.
        self.averaged = self.model
        if config.weight_average:
            self.averaged = placed(deepcopy(self.model), machine)
        self.history: list[Evaluation] = []
        self.valid_label = np.empty(0, np.uint8)
        if valid is not None:
            self.valid_label = valid.table.column("label", 0, valid.rows)
        self.click_rate = float(train.table.column("label").mean())
        self.schedule = Schedule(config.evaluations_per_epoch, train.batches_per_epoch)
        self.early_stopping = EarlyStopping(config.patience)
        self.best_weights: dict[str, torch.Tensor] = {}
        # The epoch, from 1 on, and how many of its batches are done.
        self.epoch, self.batch = 1, 0
        self.started = time.monotonic()

    def fit(self) -> None:
        """Train for `epochs` epochs or until early stopping."""
        if self.checkpoint is not None and (state := self.checkpoint.load()) is not None:
            self._restore(state)
        self.ranks.agree(
            self.step,
            "not all processes of this training could read its saved state; run the same command "
            "again",
        )
        samples = self.config.epochs * self.train.rows_per_epoch
        if self.replay is not None:
            samples = min(samples, self.replay.steps * self.train.batch_rows)
        training = progress(
            "trained", samples, "samples", done=self.rows_seen, verbosity=self.verbosity
        )
        with training as bar:
            while self.epoch <= self.config.epochs and not self._is_over:
                self._run_epoch(bar)
        if self.early_stopping.is_over:
            logger.info("no gain in %d evaluations: stopped", self.config.patience)
        self.model.load_state_dict(self.best_weights)

    def _run_epoch(self, bar: Progress) -> None:
        """The steps left of the epoch, and its evaluations."""
        self.model.train()
        batches = self.machine.ahead(
            self.train.shuffled(
                self.config.seed,
                self.epoch,
                first_batch=self.batch,
                rank=self.ranks.rank,
                ranks=self.ranks.count,
            )
        )
        # An interrupted training may stand right before an evaluation.
        while self._is_evaluation_due or self._steps(batches, bar):
            self._evaluate()
            if self._is_over:
                return
        self.epoch, self.batch = self.epoch + 1, 0

    def _steps(self, batches: Iterator[Batch], bar: Progress) -> bool:
        """Take steps; return True when an evaluation is due, False when the epoch is over.

        A signal to any rank ends the process after the step, once the state is saved. During an
        evaluation it ends the process at once: the state was saved before.
        """
        with Signals() as signals:
            for batch in batches:
                self._take(batch)
                if self.verbosity > 1 and self.step % 20 == 0:
                    bar.show(loss=self.stepper.running_loss())
                bar.advance(batch.step_rows)
                # Only the rank that saves knows when it last did.
                is_old = self.checkpoint is not None and self.checkpoint.is_due()
                asked, is_save_due = self.ranks.largest(
                    signals.asked, self.ranks.is_first and is_old
                )
                if asked or is_save_due or self._is_evaluation_due:
                    is_saved = self._save()
                    if asked and is_saved:
                        logger.warning("interrupted at step %d; its state is saved", self.step)
                if asked:
                    # Once one has ended, the launcher ends the others.
                    self.ranks.wait()
                    signals.end_as_asked(asked)
                if self._is_evaluation_due:
                    return True
        return False

    def _take(self, batch: Batch) -> None:
        """One step."""
        set_learning_rate(self.stepper.optimizer, self._rate(self.step + 1))
        self.stepper.take(batch)
        if self.averaged is not self.model:
            self._average()
        self.batch += 1

    def _average(self) -> None:
        """Add the step's weights. Not by torch's AveragedModel, which waits for a GPU each step."""
        # The weights of the first step are the first average.
        add = get_ema_multi_avg_fn(self.config.weight_average if self.step > 1 else 0)
        add(list(self.averaged.parameters()), list(self.model.parameters()), None)
        for kept, newest in zip(self.averaged.buffers(), self.model.buffers()):
            kept.copy_(newest)

    def _rate(self, step: int) -> float:
        return self.replay.rate(step) if self.replay else self.learning_rate.at(step)

    @property
    def _is_over(self) -> bool:
        """True before the last epoch if there is no gain left, or nothing left to replay."""
        if self.replay is not None:
            return self.step >= self.replay.steps
        return self.early_stopping.is_over

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.stepper.step

    @property
    def rows_seen(self) -> int:
        """Train rows of the steps taken; a row counts in each epoch."""
        per_epoch = self.train.rows_per_epoch
        return (self.epoch - 1) * per_epoch + min(self.batch * self.train.batch_rows, per_epoch)

    def _save(self) -> bool:
        """Save the state; False where that failed, or another rank does it."""
        if self.checkpoint is None:
            return False
        # All ranks gather it.
        state = self._state()
        return self.ranks.is_first and self.checkpoint.save(state)

    @property
    def _is_evaluation_due(self) -> bool:
        """True after a step that ends in an evaluation, until that is done."""
        last = self.history[-1].step if self.history else 0
        is_due = self.schedule.is_due(self.batch) if self.replay is None else self._is_over
        return self.step > last and is_due

    def _predict(self) -> np.ndarray:
        """Logits of all validation rows; each rank predicts a part of them."""
        assert self.valid is not None, "a replay needs no predictions"
        start, stop = self.ranks.share(self.valid.rows)
        logit = torch.zeros(self.valid.rows)
        part = predict_logits(
            self.averaged,
            self.valid,
            self.machine,
            start=start,
            stop=stop,
            verbosity=self.verbosity,
        )
        logit[start:stop] = torch.from_numpy(part)
        return self.ranks.add(logit).numpy()

    def _metrics(self) -> Mapping[str, float]:
        """`auc`, `logloss` and `monitor`, the weighted sum of what is monitored."""
        if self.replay is not None:
            return self.replay.metrics
        weights = self.config.monitor
        names = dict.fromkeys(("auc", "logloss", *weights))
        found = monitored_metrics(names, self.valid_label, self._predict(), self.click_rate)
        monitor = sum(weight * found[name] for name, weight in weights.items())
        if not math.isfinite(monitor):
            raise NotFiniteError(
                f"the validation metrics at step {self.step} are {found}, over "
                f"{len(self.valid_label):,} rows with {int(self.valid_label.sum()):,} clicks; both "
                f"labels and finite predictions are needed: lower train.learning_rate or raise "
                f"sampling.valid_share"
            )
        return {**found, "monitor": monitor}

    def _evaluate(self) -> None:
        self.stepper.running_loss()  # ends here if a loss was not finite
        metrics = self._metrics()
        evaluation = Evaluation(
            epoch=self.epoch,
            step=self.step,
            train_loss=self.stepper.mean_loss(),
            auc=metrics["auc"],
            logloss=metrics["logloss"],
            monitor=metrics["monitor"],
            learning_rate=self._rate(self.step),
            seconds=round(time.monotonic() - self.started, 2),
        )
        is_best = all(evaluation.monitor > before.monitor for before in self.history)
        self.history.append(evaluation)
        if is_best:
            self.best_weights = {
                name: value.detach().clone() for name, value in self.averaged.state_dict().items()
            }
        if self.replay is not None:
            logger.info("the last step, %d: train loss %.5f", self.step, evaluation.train_loss)
            return
        consequence = ""
        if self.schedule.counts(self.batch) and not self.early_stopping.is_gain(evaluation.monitor):
            if self.config.schedule == "plateau":
                self.learning_rate.cuts.append(self.step)
            consequence = f", no gain, learning rate {self._rate(self.step + 1):g}"
        logger.info(
            "epoch %d, step %d: train loss %.5f, validation AUC %.5f, logloss %.5f%s%s",
            self.epoch,
            self.step,
            evaluation.train_loss,
            evaluation.auc,
            evaluation.logloss,
            " (best so far)" if is_best else "",
            consequence,
        )
        if self.after_evaluation is not None:
            self.after_evaluation(self)

    def _state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on as this one would."""
        return {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best_weights": self.best_weights,
            "stepper": self.stepper.state(),
            "epoch": self.epoch,
            "batch": self.batch,
            "history": [asdict(evaluation) for evaluation in self.history],
            "early_stopping": asdict(self.early_stopping),
            "cuts": self.learning_rate.cuts,
            "seconds": time.monotonic() - self.started,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.best_weights = state["best_weights"]
        self.stepper.restore(state["stepper"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.history = [Evaluation(**evaluation) for evaluation in state["history"]]
        self.early_stopping = EarlyStopping(**state["early_stopping"])
        self.learning_rate.cuts = state["cuts"]
        self.started = time.monotonic() - state["seconds"]
        logger.info(
            "resuming an interrupted training: epoch %d, step %d, %d evaluations",
            self.epoch,
            self.step,
            len(self.history),
        )
