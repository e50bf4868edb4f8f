"""When a training cuts its learning rate, and when it stops."""

from dataclasses import dataclass

from torch.optim import Optimizer

CUT = 0.1


@dataclass
class Plateau:
    """Decides at each evaluation: better, cut the learning rate, or stop.

    An evaluation that is no better than the best before cuts the learning rate; `patience` of
    them in a row end the training.
    """

    patience: int
    best: float = float("-inf")
    rounds_without_gain: int = 0

    def is_better(self, monitor: float, optimizer: Optimizer) -> bool:
        """Take note of an evaluation: True if it is the best so far, else cut the rate."""
        if monitor > self.best:
            self.best, self.rounds_without_gain = monitor, 0
            return True
        self.rounds_without_gain += 1
        for group in optimizer.param_groups:
            group["lr"] *= CUT
        return False

    @property
    def is_over(self) -> bool:
        """True once `patience` evaluations in a row brought no gain."""
        return self.rounds_without_gain >= self.patience


def learning_rate(optimizer: Optimizer) -> float:
    """The rate of the next step."""
    return optimizer.param_groups[0]["lr"]
