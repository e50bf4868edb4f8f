"""The loop of one training: steps, evaluations, learning-rate cuts, early stop, best weights."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score

from ..common.errors import NotFiniteError
from ..common.progress import Progress, progress
from ..config.train import TrainConfig
from ..dataset.batches import BatchSource
from ..machine.runtime import Machine
from ..model import FESeq
from ..predict.prediction import predict_probabilities
from .learning_rate import Plateau, learning_rate
from .resume import SavedTraining, Signals, end_as_asked
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

    Each of several ranks has a trainer. They train on shares of the same batches, judge shares of
    the validation rows, and agree on all that they decide.
    """

    def __init__(
        self,
        model: FESeq,
        train: BatchSource,
        valid: BatchSource,
        config: TrainConfig,
        machine: Machine,
        *,
        micro_rows: int | None = None,
        saved: SavedTraining | None = None,
        after_evaluation: Callable[["Trainer"], None] | None = None,
        verbosity: int = 0,
    ) -> None:
        self.model = model.to(machine.device)
        self.train, self.valid = train, valid
        self.config = config
        self.machine, self.ranks = machine, machine.ranks
        self.saved = saved
        self.after_evaluation = after_evaluation
        self.verbosity = verbosity
        self.stepper = Stepper(
            model,
            torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True),
            Loss(config.label_smoothing, config.pos_weight),
            machine,
            micro_rows=micro_rows,
            max_grad_norm=config.max_grad_norm,
            embedding_l2=config.embedding_l2,
            seed=config.seed,
        )
        self.history: list[Evaluation] = []
        self.valid_label = valid.table.column("label")
        self.plateau = Plateau(config.patience)
        self.best_weights: dict[str, torch.Tensor] = {}
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
        samples = self.config.epochs * self.train.rows
        training = progress(
            "trained", samples, "samples", done=self.rows_seen, verbosity=self._shown
        )
        with self.signals, training as bar:
            while self.epoch <= self.config.epochs and not self.plateau.is_over:
                self._run_epoch(bar)
        if self.plateau.is_over:
            logger.info("no gain in %d evaluations: stopped", self.config.patience)
        self.model.load_state_dict(self.best_weights)

    def _run_epoch(self, bar: Progress) -> None:
        """The steps left of the epoch, and the evaluations that fall due."""
        # An interrupted training may have stood right before one.
        self._evaluate_if_due()
        if self.plateau.is_over:
            return
        self.model.train()
        for batch in self.train.shuffled(
            self.config.seed,
            self.epoch,
            first_batch=self.batch,
            rank=self.ranks.rank,
            ranks=self.ranks.count,
        ):
            self.stepper.take(batch)
            self.batch += 1
            if self.verbosity > 1 and self.step % 20 == 0:
                bar.show(loss=self.stepper.running_loss())
            bar.advance(batch.step_rows)
            is_due = self._stop_if_asked()
            self._evaluate_if_due()
            if self.plateau.is_over:
                return
            if is_due:
                self._save()
        self.epoch, self.batch = self.epoch + 1, 0

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.stepper.step

    @property
    def rows_seen(self) -> int:
        """Train rows of the steps taken; a row counts in each epoch."""
        in_epoch = min(self.batch * self.train.batch_rows, self.train.rows)
        return (self.epoch - 1) * self.train.rows + in_epoch

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
            end_as_asked(asked)
        return bool(due)

    def _save(self) -> bool:
        """Save the state, gathered from all ranks; False where that failed, or another one does."""
        if self.saved is None:
            return False
        state = self._state()
        return self.ranks.is_first and self.saved.save(state)

    def _evaluate_if_due(self) -> None:
        """After every `eval_steps` steps and the last one, or after each epoch; once."""
        last = self.history[-1].step if self.history else 0
        every = self.config.eval_steps
        ends = self.batch == self.train.batches_per_epoch
        if every:
            ends = self.step % every == 0 or (ends and self.epoch == self.config.epochs)
        if ends and self.step > last:
            self._evaluate()
            if self.after_evaluation is not None:
                self.after_evaluation(self)
            self._save()

    def _predict(self) -> np.ndarray:
        """Click probabilities of all validation rows; each rank predicts a part of them."""
        start, stop = self.ranks.share(self.valid.rows)
        probability = torch.zeros(self.valid.rows)
        with suppress(_AskedError):
            part = predict_probabilities(
                self.model,
                self.valid,
                self.machine,
                start=start,
                stop=stop,
                after_batch=self._leave_if_asked,
                verbosity=self._shown,
            )
            probability[start:stop] = torch.from_numpy(part)
        # Only now, since the other ranks wait here.
        self._stop_if_asked()
        return self.ranks.add(probability).numpy()

    def _leave_if_asked(self) -> None:
        if self.signals.asked:
            raise _AskedError

    def _evaluate(self) -> None:
        self.stepper.running_loss()  # ends here if a loss was not finite
        probability = self._predict()
        train_loss = self.stepper.mean_loss()
        metrics = click_metrics(self.valid_label, probability)
        monitor = sum(weight * metrics[name] for name, weight in self.config.monitor.items())
        if not math.isfinite(monitor):
            raise NotFiniteError(
                f"the validation metrics at step {self.step} are {metrics}, over "
                f"{len(self.valid_label):,} rows with {int(self.valid_label.sum()):,} clicks; both "
                f"labels and finite predictions are needed: lower train.learning_rate or raise "
                f"sampling.valid_share"
            )
        evaluation = Evaluation(
            epoch=self.epoch,
            step=self.step,
            train_loss=train_loss,
            monitor=monitor,
            learning_rate=learning_rate(self.stepper.optimizer),
            seconds=round(time.monotonic() - self.started, 2),
            **metrics,
        )
        self.history.append(evaluation)
        is_better = self.plateau.is_better(monitor, self.stepper.optimizer)
        if is_better:
            self.best_weights = {
                name: value.detach().clone() for name, value in self.model.state_dict().items()
            }
        rate = learning_rate(self.stepper.optimizer)
        logger.info(
            "epoch %d, step %d: train loss %.5f, validation AUC %.5f, logloss %.5f%s",
            self.epoch,
            self.step,
            train_loss,
            evaluation.auc,
            evaluation.logloss,
            " (best so far)" if is_better else f", no gain, learning rate {rate:g}",
        )

    def _state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on as this one would."""
        return {
            "model": self.model.state_dict(),
            "stepper": self.stepper.state(),
            "epoch": self.epoch,
            "batch": self.batch,
            "history": [asdict(evaluation) for evaluation in self.history],
            "plateau": asdict(self.plateau),
            "best_weights": self.best_weights,
            "seconds": time.monotonic() - self.started,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.stepper.restore(state["stepper"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.history = [Evaluation(**evaluation) for evaluation in state["history"]]
        self.plateau = Plateau(**state["plateau"])
        self.best_weights = state["best_weights"]
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


def click_metrics(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Area under the ROC curve and mean binary cross-entropy in nats (scikit-learn)."""
    return {
        "auc": float(roc_auc_score(label, probability)),
        "logloss": float(log_loss(label, probability.astype(np.float64), labels=[0, 1])),
    }
