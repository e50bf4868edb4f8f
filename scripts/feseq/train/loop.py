"""The loop of one training: steps, evaluations, learning rate, early stop, best weights."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from .followed import Followed
from .judge import Occasions, Plateau
from .learning_rate import LearningRate, set_learning_rate
from .monitor import click_metrics
from .optimizer import make_optimizer
from .resume import SavedTraining
from .step import Loss, Stepper

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


class _AskedError(Exception):
    """Leaves an evaluation after a signal."""


class Trainer:
    """One training run. `fit` leaves the best weights in `model` and fills `history`.

    With `saved`, it goes on from that state where there is one, and keeps it up to date: now and
    then, after each evaluation, and before a signal ends the process. `micro_rows` limits the rows
    that a step holds in memory at once. `after_evaluation` may raise to end the training.

    With `followed`, it follows an earlier training's steps and learning rates to the best weights,
    and needs no `valid`: that training's figures stand for its own.

    Each of several ranks has a trainer. They train on shares of the same batches, judge shares of
    the validation rows, and agree on all that they decide.
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
        saved: SavedTraining | None = None,
        followed: Followed | None = None,
        after_evaluation: Callable[["Trainer"], None] | None = None,
        verbosity: int = 0,
    ) -> None:
        self.model = placed(model, machine)
        self.train, self.valid = train, valid
        self.config = config
        self.machine, self.ranks = machine, machine.ranks
        self.saved, self.followed = saved, followed
        self.after_evaluation = after_evaluation
        self.verbosity = verbosity
        self.stepper = Stepper(
            model,
            make_optimizer(model, config),
            Loss(config.label_smoothing, config.pos_weight),
            machine,
            micro_rows=micro_rows,
            max_grad_norm=config.max_grad_norm,
            embedding_l2=config.embedding_l2,
            seed=config.seed,
        )
        self.learning_rate = LearningRate.of(config, config.epochs * train.batches_per_epoch)
        self.average = None
        if config.weight_average:
            self.average = placed(deepcopy(self.model), machine)
        self.history: list[Evaluation] = []
        self.valid_label = np.empty(0, np.uint8)
        if valid is not None:
            self.valid_label = valid.table.column("label", 0, valid.rows)
        self.click_rate = float(train.table.column("label").mean())
        self.occasions = Occasions(config, train.batches_per_epoch)
        self.plateau = Plateau(config.patience, config.cut_patience, config.margin)
        self.best_weights: dict[str, torch.Tensor] = {}
        # First and last of the steps that led to these weights, in ranges: a cut may go back.
        self.path, self.best_path = [[1, 0]], [[1, 0]]
        # The epoch, from 1 on, and how many of its batches are done.
        self.epoch, self.batch = 1, 0
        self.started = time.monotonic()
        self.signals = Signals()

    def fit(self) -> None:
        """Train for `epochs` epochs or until there is no gain left."""
        if self.saved is not None and (state := self.saved.load()) is not None:
            self._restore(state)
        self.ranks.agree(
            self.step,
            "not all processes of this training could read its saved state; run the same command "
            "again",
        )
        samples = self.config.epochs * self.train.rows_per_epoch
        if self.followed is not None:
            samples = min(samples, self.followed.steps * self.train.batch_rows)
        training = progress(
            "trained", samples, "samples", done=self.rows_seen, verbosity=self._shown
        )
        with self.signals, training as bar:
            while self.epoch <= self.config.epochs and not self._is_over:
                self._run_epoch(bar)
        if self.plateau.is_over:
            logger.info("no gain in %d evaluations: stopped", self.config.patience)
        self.model.load_state_dict(self.best_weights)

    def _run_epoch(self, bar: Progress) -> None:
        """The steps left of the epoch, and the evaluations that fall due."""
        # An interrupted training may have stood right before one.
        self._evaluate_if_due()
        if self._is_over:
            return
        self.model.train()
        batches = self.train.shuffled(
            self.config.seed,
            self.epoch,
            first_batch=self.batch,
            rank=self.ranks.rank,
            ranks=self.ranks.count,
        )
        for batch in self.machine.ahead(batches):
            self._take(batch)
            if self.verbosity > 1 and self.step % 20 == 0:
                bar.show(loss=self.stepper.running_loss())
            bar.advance(batch.step_rows)
            is_due = self._stop_if_asked()
            self._evaluate_if_due()
            if self._is_over:
                return
            if is_due:
                self._save()
        self.epoch, self.batch = self.epoch + 1, 0

    def _take(self, batch: Batch) -> None:
        """One step."""
        set_learning_rate(self.stepper.optimizer, self._rate(self.step + 1))
        self.stepper.take(batch)
        if self.average is not None:
            self._add_to(self.average)
        self.batch += 1
        self.path[-1][1] = self.step

    def _add_to(self, average: FESeq) -> None:
        """The step's weights. Not by torch's AveragedModel, for which each step waits for a GPU."""
        # The weights of the first step are the first average.
        add = get_ema_multi_avg_fn(self.config.weight_average if self.step > 1 else 0)
        add(list(average.parameters()), list(self.model.parameters()), None)
        for kept, newest in zip(average.buffers(), self.model.buffers()):
            kept.copy_(newest)

    def _rate(self, step: int) -> float:
        return self.followed.rate(step) if self.followed else self.learning_rate.at(step)

    @property
    def _is_over(self) -> bool:
        """True before the last epoch if there is no gain left, or nothing left to follow."""
        if self.followed is not None:
            return self.step >= self.followed.steps
        return self.plateau.is_over

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.stepper.step

    @property
    def rows_seen(self) -> int:
        """Train rows of the steps taken; a row counts in each epoch."""
        of_epoch = self.train.rows_per_epoch
        return (self.epoch - 1) * of_epoch + min(self.batch * self.train.batch_rows, of_epoch)

    def _stop_if_asked(self) -> bool:
        """End the process after a signal to any rank; else True if the state should be saved."""
        # Only the rank that saves knows when it last did.
        is_due = self.ranks.is_first and self.saved is not None and self.saved.is_due()
        asked, due = self.ranks.largest(self.signals.asked, is_due)
        if asked:
            if self._save():
                logger.warning("interrupted at step %d; its state is saved", self.step)
            # Once one has ended, the launcher ends the others.
            self.ranks.wait()
            self.signals.end_as_asked(asked)
        return bool(due)

    def _save(self) -> bool:
        """Save the state, gathered from all ranks; False where that failed, or another one does."""
        if self.saved is None:
            return False
        state = self._state()
        return self.ranks.is_first and self.saved.save(state)

    def _evaluate_if_due(self) -> None:
        """Where an evaluation is due after the last step, once."""
        last = self.history[-1].step if self.history else 0
        is_due = self._is_over
        if self.followed is None:
            is_due = self.occasions.is_due(self.epoch, self.batch, self.step)
        if self.step > last and is_due:
            self._evaluate()
            if self.after_evaluation is not None:
                self.after_evaluation(self)
            self._save()

    def _predict(self) -> np.ndarray:
        """Logits of all validation rows; each rank predicts a part of them."""
        assert self.valid is not None, "a training that follows another needs no predictions"
        start, stop = self.ranks.share(self.valid.rows)
        logit = torch.zeros(self.valid.rows)
        with suppress(_AskedError):
            part = predict_logits(
                self.judged,
                self.valid,
                self.machine,
                start=start,
                stop=stop,
                after_batch=self._leave_if_asked,
                verbosity=self._shown,
            )
            logit[start:stop] = torch.from_numpy(part)
        # Only now, since the other ranks wait here.
        self._stop_if_asked()
        return self.ranks.add(logit).numpy()

    def _leave_if_asked(self) -> None:
        if self.signals.asked:
            raise _AskedError

    @property
    def judged(self) -> FESeq:
        """The network that is evaluated and kept: the average's, where there is one."""
        return self.model if self.average is None else self.average

    def _figures(self) -> tuple[Mapping[str, float], float]:
        """The validation rows' figures, and what the monitor makes of them."""
        if self.followed is not None:
            return self.followed.figures, self.followed.figures["monitor"]
        metrics = click_metrics(self.valid_label, self._predict(), self.click_rate)
        return metrics, sum(weight * metrics[name] for name, weight in self.config.monitor.items())

    def _evaluate(self) -> None:
        self.stepper.running_loss()  # ends here if a loss was not finite
        metrics, monitor = self._figures()
        train_loss = self.stepper.mean_loss()
        if not math.isfinite(monitor):
            raise NotFiniteError(
                f"the validation metrics at step {self.step} are {metrics}, over "
                f"{len(self.valid_label):,} rows with {int(self.valid_label.sum()):,} clicks; both "
                f"labels and finite predictions are needed: lower train.learning_rate or raise "
                f"sampling.valid_share"
            )
        is_best = all(monitor > evaluation.monitor for evaluation in self.history)
        evaluation = Evaluation(
            epoch=self.epoch,
            step=self.step,
            train_loss=train_loss,
            auc=metrics["auc"],
            logloss=metrics["logloss"],
            monitor=monitor,
            learning_rate=self._rate(self.step),
            seconds=round(time.monotonic() - self.started, 2),
        )
        self.history.append(evaluation)
        if is_best:
            self.best_weights = {
                name: value.detach().clone() for name, value in self.judged.state_dict().items()
            }
            self.best_path = deepcopy(self.path)
        if self.followed is not None:
            logger.info("the last step, %d: train loss %.5f", self.step, train_loss)
            return
        consequence = self._consequence(monitor) if self.occasions.counts(self.batch) else ""
        logger.info(
            "epoch %d, step %d: train loss %.5f, validation AUC %.5f, logloss %.5f%s%s",
            self.epoch,
            self.step,
            train_loss,
            evaluation.auc,
            evaluation.logloss,
            " (best so far)" if is_best else "",
            consequence,
        )

    def _consequence(self, monitor: float) -> str:
        """Cut the learning rate where a gain failed to come for long enough; what to log of it."""
        if self.plateau.is_gain(monitor):
            return ""
        if self.config.schedule == "plateau" and self.plateau.is_cut_due:
            self.learning_rate.cuts.append(self.step)
            if self.config.restore_best:
                self._go_back()
        return f", no gain, learning rate {self.learning_rate.at(self.step + 1):g}"

    def _go_back(self) -> None:
        """Go on from the best weights; the optimizer's moments stay.

        Adam's mean of gradients forgets the steps that are taken back within some ten new ones, at
        a rate that has just been cut. Its mean of squares is the scale of the gradient of each
        weight, or of each table, which is no other at the best weights: without it the first steps
        would move every weight by the full rate, however small its gradient.
        """
        self.model.load_state_dict(self.best_weights)
        if self.average is not None:
            self.average.load_state_dict(self.best_weights)
        self.path = [*deepcopy(self.best_path), [self.step + 1, self.step]]

    def _state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on as this one would."""
        return {
            "model": self.model.state_dict(),
            "stepper": self.stepper.state(),
            "epoch": self.epoch,
            "batch": self.batch,
            "history": [asdict(evaluation) for evaluation in self.history],
            "plateau": asdict(self.plateau),
            "cuts": self.learning_rate.cuts,
            "average": None if self.average is None else self.average.state_dict(),
            "best_weights": self.best_weights,
            "paths": [self.path, self.best_path],
            "seconds": time.monotonic() - self.started,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.stepper.restore(state["stepper"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.history = [Evaluation(**evaluation) for evaluation in state["history"]]
        self.plateau = Plateau(**state["plateau"])
        self.learning_rate.cuts = state["cuts"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.best_weights = state["best_weights"]
        self.path, self.best_path = state["paths"]
        self.started = time.monotonic() - state["seconds"]
        logger.info(
            "resuming an interrupted training: epoch %d, step %d, %d evaluations",
            self.epoch,
            self.step,
            len(self.history),
        )

    @property
    def _shown(self) -> int:
        """The verbosity of what is shown; rank 0 shows it, with the losses of all."""
        return self.verbosity if self.ranks.is_first else 0
