"""When a training is evaluated, and what is a gain."""

from dataclasses import dataclass

from ..config.train import TrainConfig

# An epoch of more steps is worth evaluations within it.
LONG_EPOCH_STEPS = 2_000
EVALUATIONS_OF_A_LONG_EPOCH = 4


@dataclass(frozen=True)
class Occasions:
    """The steps after which a training is evaluated."""

    config: TrainConfig
    batches_per_epoch: int

    def is_due(self, epoch: int, batch: int, step: int) -> bool:
        """True after this step, the `batch`-th of its epoch; both count from 1."""
        ends = batch == self.batches_per_epoch
        if self.config.eval_steps:
            return step % self.config.eval_steps == 0 or (ends and epoch == self.config.epochs)
        parts = self.config.evaluations_per_epoch
        if parts == "auto":
            is_long = self.batches_per_epoch > LONG_EPOCH_STEPS
            parts = EVALUATIONS_OF_A_LONG_EPOCH if is_long else 1
        done, before = (n * parts // self.batches_per_epoch for n in (batch, batch - 1))
        return done > before

    def counts(self, batch: int) -> bool:
        """True if learning rate and end depend on the evaluation after this batch."""
        is_auto = not self.config.eval_steps and self.config.evaluations_per_epoch == "auto"
        return batch == self.batches_per_epoch or not is_auto


@dataclass
class Plateau:
    """Counts the evaluations in a row that brought no gain.

    A gain is more than `margin` above the last gain's figure, `best`.
    """

    patience: int
    cut_patience: int = 1
    margin: float = 0.0
    best: float = float("-inf")
    rounds_without_gain: int = 0

    def is_gain(self, monitor: float) -> bool:
        """Take note of an evaluation."""
        if monitor > self.best + self.margin:
            self.best, self.rounds_without_gain = monitor, 0
            return True
        self.rounds_without_gain += 1
        return False

    @property
    def is_cut_due(self) -> bool:
        """True when as many evaluations brought no gain as a cut takes, or twice as many, ..."""
        return self.rounds_without_gain > 0 and self.rounds_without_gain % self.cut_patience == 0

    @property
    def is_over(self) -> bool:
        """True once `patience` evaluations in a row brought no gain."""
        return self.rounds_without_gain >= self.patience
