"""The training loop: steps, evaluations, early stopping, best weights, saved states."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...batches.batch import Batch
from ...batches.batch_source import BatchSource
from ...common.errors import NotFiniteError
from ...common.logits import metrics_of
from ...common.progress import Progress
from ...common.signals import DeferredSignals
from ..checkpoint import Checkpoint
from .network import FESeq
from .network.device import Machine
from .network_file import predict_logits, to_machine
from .network_settings import TrainConfig
from .training_step import Stepper, learning_rate, make_optimizer, set_learning_rate

logger = logging.getLogger(__name__)

# With `evaluations_per_epoch: auto`, epochs of more steps have several evaluations.
LONG_EPOCH_STEPS = 2_000
EVALUATIONS_OF_A_LONG_EPOCH = 4


@dataclass(frozen=True)
class Evaluation:
    """The validation metrics of a network after some steps; a row of history.csv.

    `monitor` is the weighted sum of the metrics in the setting `train.monitor`; the best evaluation
    has the largest. `train_loss` is the mean loss of the steps since the previous evaluation.
    """

    epoch: int
    step: int
    train_loss: float
    auc: float
    logloss: float
    monitor: float
    learning_rate: float
    seconds: float


class Trainer:
    """Trains the network `model`. After `fit`, `model` has the weights of the best evaluation.

    valid: batches of the validation rows; None in a refit
    micro_rows: maximum rows of a micro-batch; gradients of a batch are summed over micro-batches
    checkpoint: where the state is saved regularly, before each evaluation, and when a signal ends
        the process; `fit` resumes from a saved state. None: nothing is saved
    metrics: for a refit, the validation metrics of the first training. A refit has no validation
        rows: it writes these metrics into each evaluation of `history`, and keeps its last weights
    after_evaluation: may raise an exception to end `fit`

    On several GPUs, each process has a trainer, and all trainers take the same decisions. Each
    trains on a share of every batch, and predicts a share of the validation rows.
    """

    def __init__(
        self,
        model: FESeq,
        train: BatchSource,
        valid: BatchSource | None,
        config: TrainConfig,
        machine: Machine,
        *,
        micro_rows: int,
        checkpoint: Checkpoint | None = None,
        metrics: Mapping[str, float] | None = None,
        after_evaluation: Callable[["Trainer"], None] = lambda trainer: None,
    ) -> None:
        self.model = to_machine(model, machine)
        self.train, self.valid = train, valid
        self.config = config
        self.machine, self.ranks = machine, machine.ranks
        self.checkpoint, self.metrics = checkpoint, metrics
        self.after_evaluation = after_evaluation
        self.click_rate = float(train.table.column("label").mean())
        self.peak_learning_rate = config.peak_learning_rate(train.rows, self.click_rate)
        self.steps_per_epoch = train.batches_per_epoch
        self.steps = config.epochs * self.steps_per_epoch
        self.evaluated_after = evaluated_batches(config.evaluations_per_epoch, self.steps_per_epoch)
        optimizer = make_optimizer(model, config)
        self.stepper = Stepper(model, optimizer, machine, config, micro_rows=micro_rows)
        # The network that is evaluated and saved: with `weight_average`, a copy.
        average = config.weight_average
        self.averaged = to_machine(deepcopy(self.model), machine) if average else self.model
        self.best_weights: dict[str, torch.Tensor] = {}
        self.history: list[Evaluation] = []
        self.started = time.monotonic()

    def fit(self) -> None:
        """Train for `epochs` epochs, or until early stopping."""
        self._resume()
        self.model.train()
        rows = self.train.batch_rows
        bar = Progress("trained", self.steps * rows, "rows", done=self.step * rows)
        batches = self._batches()
        # An interrupted training may have ended right before an evaluation.
        while self._is_evaluation_due or not self.is_over:
            self._train_until_evaluation(batches, bar)
            self.evaluate()
        if self.step < self.steps:
            logger.info("early stopping: no gain in %d evaluations", self.config.patience)
        self.model.load_state_dict(self.best_weights)

    @property
    def step(self) -> int:
        """The number of steps taken."""
        return self.stepper.step

    @property
    def epoch(self) -> int:
        """The epoch of the last step; the first epoch is 1."""
        return max(0, self.step - 1) // self.steps_per_epoch + 1

    @property
    def best(self) -> Evaluation:
        """The evaluation with the largest `monitor`."""
        return max(self.history, key=lambda evaluation: evaluation.monitor)

    @property
    def is_over(self) -> bool:
        """True after the last step, or after `patience` consecutive evaluations without gain."""
        recent = [*self._gains().values()][-self.config.patience :]
        return self.step == self.steps or (len(recent) > 0 and not any(recent))

    @property
    def _is_evaluation_due(self) -> bool:
        """True if the last step needs an evaluation that is not done."""
        evaluated = self.history[-1].step if self.history else 0
        batch = self.step - (self.epoch - 1) * self.steps_per_epoch
        is_due = self.valid is not None and batch in self.evaluated_after
        return self.step > evaluated and (is_due or self.step == self.steps)

    def _gains(self) -> dict[int, bool]:
        """For the step of each evaluation: true if `monitor` is larger than ever before.

        Evaluations that cannot change the learning rate or end the training are left out.
        """
        gains, best = {}, float("-inf")
        for evaluation in self.history:
            is_last = evaluation.step % self.steps_per_epoch == 0
            if is_last or self.config.evaluations_per_epoch != "auto":
                gains[evaluation.step] = evaluation.monitor > best
                best = max(best, evaluation.monitor)
        return gains

    def _learning_rate(self, step: int) -> float:
        cuts = [step for step, is_gain in self._gains().items() if not is_gain]
        return learning_rate(self.peak_learning_rate, self.config.schedule, step, self.steps, cuts)

    def _batches(self) -> Iterator[Batch]:
        """The remaining batches of all epochs."""
        for epoch in range(self.step // self.steps_per_epoch, self.config.epochs):
            batches = self.train.shuffled(
                self.config.seed,
                epoch + 1,
                first_batch=self.step - epoch * self.steps_per_epoch,
                rank=self.ranks.rank,
                ranks=self.ranks.count,
            )
            yield from self.machine.prefetch(batches)

    def _train_until_evaluation(self, batches: Iterator[Batch], bar: Progress) -> None:
        """Take steps until an evaluation is due.

        A signal to any process ends all processes after the current step and a save. During an
        evaluation, a signal ends the process at once, since the state was saved before.
        """
        with DeferredSignals() as signals:
            while not self._is_evaluation_due:
                self._take(next(batches))
                bar.advance(self.train.batch_rows)
                # Only the rank that saves knows the time of the last save.
                is_due = self.checkpoint is not None and self.checkpoint.is_due()
                is_due = is_due and self.ranks.is_main
                end_signal, is_save_due = self.ranks.max_over_processes(signals.received, is_due)
                if end_signal or is_save_due or self._is_evaluation_due:
                    is_saved = self.save()
                    if end_signal and is_saved:
                        logger.warning("interrupted at step %d; the state is saved", self.step)
                if end_signal:
                    # Waits for all ranks: the launcher ends them when one has ended.
                    self.ranks.max_over_processes(0)
                    signals.raise_signal(end_signal)

    def _take(self, batch: Batch) -> None:
        """Take one step, and update the average of the weights."""
        set_learning_rate(self.stepper.optimizer, self._learning_rate(self.step + 1))
        self.stepper.take_step(batch)
        if self.config.weight_average:
            # Torch's AveragedModel would wait for a GPU each step. The first average is the weights
            # after the first step.
            add = get_ema_multi_avg_fn(self.config.weight_average if self.step > 1 else 0)
            add(list(self.averaged.parameters()), list(self.model.parameters()), None)
            for averaged, buffer in zip(self.averaged.buffers(), self.model.buffers()):
                averaged.copy_(buffer)

    def evaluate(self) -> None:
        """Evaluate the model, and keep its weights if they are the best."""
        train_loss = self.stepper.mean_loss()
        metrics = self._metrics() if self.metrics is None else self.metrics
        evaluation = Evaluation(
            epoch=self.epoch,
            step=self.step,
            train_loss=train_loss,
            **metrics,
            learning_rate=self._learning_rate(self.step),
            seconds=round(time.monotonic() - self.started, 2),
        )
        self.history.append(evaluation)
        if self.best is evaluation:
            self.best_weights.clear()  # frees memory for the new weights
            weights = self.averaged.state_dict()
            self.best_weights = {name: value.clone() for name, value in weights.items()}
        text = f"epoch {self.epoch}, step {self.step}: train loss {train_loss:.5f}"
        if self.metrics is None:
            text += f", validation AUC {metrics['auc']:.5f}, logloss {metrics['logloss']:.5f}"
        logger.info(text)
        self.after_evaluation(self)

    def _metrics(self) -> Mapping[str, float]:
        """`auc`, `logloss` and `monitor`, the weighted sum of the monitored metrics."""
        assert self.valid is not None, "a refit is not evaluated"
        label, logit = self.valid.table.column("label"), self._predict()
        if not (0 < label.sum() < len(label) and np.isfinite(logit).all()):
            raise NotFiniteError(
                f"cannot compute validation metrics at step {self.step}: {int(label.sum()):,} of "
                f"{len(label):,} rows are clicks. If none or all are, raise the setting "
                f"sampling.valid_share. Otherwise, a prediction is not finite; lower the setting "
                f"train.learning_rate"
            )
        names = dict.fromkeys(("auc", "logloss", *self.config.monitor))
        metrics = dict(zip(names, metrics_of(names, label, logit, self.click_rate)))
        monitor = sum(weight * metrics[name] for name, weight in self.config.monitor.items())
        return {"auc": metrics["auc"], "logloss": metrics["logloss"], "monitor": monitor}

    def _predict(self) -> np.ndarray:
        """Logits of all validation rows; each process predicts a share of them."""
        assert self.valid is not None, "a refit is not evaluated"
        start, stop = self.ranks.slice_of_rank(self.valid.rows)
        logit = torch.zeros(self.valid.rows)
        share = predict_logits(self.averaged, self.valid, self.machine, start=start, stop=stop)
        logit[start:stop] = torch.from_numpy(share)
        return self.ranks.sum(logit).numpy()

    def save(self) -> bool:
        """Save the state; true if this process wrote it (the processes share one state)."""
        if self.checkpoint is None:
            return False
        state = {  # all ranks take part
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "stepper": self.stepper.state_dict(),
            "best_weights": self.best_weights,
            "history": [asdict(evaluation) for evaluation in self.history],
            "seconds": time.monotonic() - self.started,
        }
        return self.ranks.is_main and self.checkpoint.save(state)

    def _resume(self) -> None:
        """Load the saved state, if there is one."""
        state = self.checkpoint.load(torch.from_numpy) if self.checkpoint else None
        if state is not None:
            for name in ("model", "averaged", "stepper"):
                getattr(self, name).load_state_dict(state[name])
            self.best_weights = state["best_weights"]
            self.history = [Evaluation(**evaluation) for evaluation in state["history"]]
            self.started = time.monotonic() - state["seconds"]
            logger.info("resuming an interrupted training after step %d", self.step)


def evaluated_batches(per_epoch: int | str, batches: int) -> set[int]:
    """After which batches of an epoch the model is evaluated, as numbers from 1.

    `per_epoch` is the number of evaluations; "auto" depends on the number of `batches`.
    """
    if isinstance(per_epoch, str):
        per_epoch = EVALUATIONS_OF_A_LONG_EPOCH if batches > LONG_EPOCH_STEPS else 1
    return {-(-batches * i // per_epoch) for i in range(1, per_epoch + 1)}
