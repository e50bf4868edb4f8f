"""A training step: loss, gradients in micro-batches, mixed precision, Adam, learning rate."""

import logging
import math
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ...batches.batch import Batch
from ...common.errors import NotEnoughMemoryError, NotFiniteError
from .network import FESeq
from .network.device import Machine, deterministic_if_possible
from .network_settings import TrainConfig

logger = logging.getLogger(__name__)

# Steps between reads of the losses: each read waits for the GPU.
STEPS_BETWEEN_CHECKS = 100
# The maximum norm of the gradient, as in the published code.
MAX_GRAD_NORM = 10
# A cut multiplies the learning rate by CUT_FACTOR; its minimum is MIN_RATE times the peak.
CUT_FACTOR, MIN_RATE = 0.1, 1e-3


class Stepper:
    """Trains a network: each step updates the weights with the gradients of one batch.

    Gradients are summed over micro-batches of at most `micro_rows` rows, so a step needs the memory
    of one micro-batch. If a GPU runs out of memory, `micro_rows` is halved and the step is
    repeated. `micro_rows` and the number of processes change results only by rounding, draws of
    dropout and, with pooling `din`, statistics of batch norms.
    """

    def __init__(
        self,
        model: FESeq,
        optimizer: Optimizer,
        machine: Machine,
        config: TrainConfig,
        *,
        micro_rows: int = sys.maxsize,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.machine, self.ranks = machine, machine.ranks
        self.config = config
        self.micro_rows = micro_rows
        # In float16, small gradients become 0 unless the loss is scaled up.
        self.scaler = torch.amp.GradScaler(
            machine.device.type, enabled=machine.precision == torch.float16
        )
        self.step = 0
        # The losses of the last steps, on the device.
        self._unread_losses: list[Tensor] = []
        self._loss_sum, self._loss_count = 0.0, 0

    def take_step(self, batch: Batch) -> None:
        """Take one step: update the model's weights with a batch on any device."""
        self.step += 1
        loss = self._gradients_that_fit(batch)
        self._sum_over_ranks()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._unread_losses.append(loss)
        if len(self._unread_losses) == STEPS_BETWEEN_CHECKS:
            self._read_losses()

    def mean_loss(self) -> float:
        """The mean loss since the last call; raises NotFiniteError if a loss is not finite."""
        self._read_losses()
        mean = self._loss_sum / max(1, self._loss_count)
        self._loss_sum, self._loss_count = 0.0, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """What another stepper needs to continue, except the model's weights."""
        self._read_losses()
        return {
            "step": self.step,
            "micro_rows": self.micro_rows,
            "loss": (self._loss_sum, self._loss_count),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of another stepper, with the smaller `micro_rows` of the two."""
        self.step = state["step"]
        self.micro_rows = min(self.micro_rows, state["micro_rows"])
        self._loss_sum, self._loss_count = state["loss"]
        self.optimizer.load_state_dict(state["optimizer"])
        # Empty if the state was saved without float16, perhaps on another machine.
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def _sum_over_ranks(self) -> None:
        """Sum the gradients of all processes, and average the statistics of batch norms."""
        if self.ranks.count == 1:
            return
        for parameter in self.model.parameters():
            # A rank without rows has no gradients.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.ranks.sum_all([p.grad for p in self.model.parameters() if p.grad is not None])
        names = ("running_mean", "running_var")
        statistics = [b for name, b in self.model.named_buffers() if name.endswith(names)]
        self.ranks.sum_all(statistics)
        for statistic in statistics:
            statistic /= self.ranks.count

    def _read_losses(self) -> None:
        if not self._unread_losses:
            return
        losses = self.ranks.sum(torch.stack(self._unread_losses)).tolist()
        for step, loss in enumerate(losses, self.step - len(losses) + 1):
            if not math.isfinite(loss):
                rate = self.optimizer.param_groups[0]["lr"]
                raise NotFiniteError(
                    f"the training loss is {loss} at step {step} (learning rate {rate:g}); lower "
                    f"the setting train.learning_rate"
                )
            # Added one by one, so that the sum does not depend on when losses are read.
            self._loss_sum += loss
        self._loss_count += len(losses)
        self._unread_losses.clear()

    def _gradients_that_fit(self, batch: Batch) -> Tensor:
        """`_gradients`, repeated with smaller micro-batches until they fit in memory."""
        while True:
            try:
                return deterministic_if_possible(lambda: self._gradients(batch))
            except torch.cuda.OutOfMemoryError:
                rows = min(len(batch), self.micro_rows)
                if rows == 1:
                    text = "GPU memory is too small to train on a single row; use a smaller model"
                    raise NotEnoughMemoryError(text) from None
            # Outside the handler, whose traceback keeps the tensors of the failed step.
            self.micro_rows = -(-rows // 2)
            text = "out of GPU memory at step %d: repeating the step in micro-batches of %d rows"
            logger.warning(text, self.step, self.micro_rows)
            torch.cuda.empty_cache()

    def _gradients(self, batch: Batch) -> Tensor:
        """Compute the gradients of the batch's mean loss; return the loss without L2 penalty.

        If several processes share the batch, their gradients and losses must be summed.
        """
        random = np.random.SeedSequence([self.config.seed, self.step, self.ranks.rank])
        torch.manual_seed(int(random.generate_state(1, np.uint64)[0]))
        self.optimizer.zero_grad(set_to_none=True)
        rows = len(batch)
        total = torch.zeros((), dtype=torch.float64, device=self.machine.device)
        # This sets the scale, by which `take_step` divides gradients, on ranks without rows, too.
        self.scaler.scale(total)
        for start in range(0, rows, self.micro_rows):
            stop = min(start + self.micro_rows, rows)
            micro_batch = batch.slice(start, stop).to(self.machine.device)
            label_B = micro_batch.label_B
            assert label_B is not None, "a train file has labels"
            with self.machine.autocast():
                logit_B = self.model(micro_batch).to(label_B.dtype)
            loss = F.binary_cross_entropy_with_logits(logit_B, label_B, reduction="sum")
            loss = loss / batch.rows_of_step
            self.scaler.scale(loss).backward()
            total += loss.detach()
        # Only one rank adds the penalty.
        if self.config.embedding_l2 and self.ranks.is_main:
            tables = embedding_parameters(self.model)
            norm = torch.stack([weight.square().sum() for weight in tables]).sum()
            self.scaler.scale(self.config.embedding_l2 * norm).backward()
        return total


def make_optimizer(model: FESeq, config: TrainConfig) -> "TableAdam":
    """The optimizer, with weight decay only for the weight matrices of layers."""
    embeddings = embedding_parameters(model)
    ids = {id(parameter) for parameter in embeddings}
    layers = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    by_table = config.embedding_second_moment == "table"
    rates = {"rate_factor": config.embedding_rate_factor, "by_table": by_table}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in layers if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in layers if p.dim() <= 1]},  # biases and norms
        {"params": embeddings, **rates},
    ]
    # Each step sets its rate.
    return TableAdam(groups, weight_decay=0, fused=True)


class TableAdam(AdamW):
    """AdamW with one second moment for each embedding table, in parameter groups with `by_table`.

    With a second moment per weight, a rare category's embedding moves equally far for a negative
    and for a click, although the gradient of a rare click is far larger. With one per table, steps
    are proportional to gradients. The moment averages only over the categories in the batch, so
    steps do not grow with the vocabulary. Adam-mini (Zhang et al., arXiv:2406.16793) does the same
    for other weights.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have gradients; change nothing if a gradient overflowed."""
        groups = [group for group in self.param_groups if group.get("by_table")]
        tables = [(t, t.grad, g) for g in groups for t in g["params"] if t.grad is not None]
        for table, _, _ in tables:
            table.grad = None  # AdamW skips the table
        super().step()
        for table, gradient, group in tables:
            table.grad = gradient
            self._update(table, gradient, group)

    def _update(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        # `taken` is 0 after an overflow in float16, else 1. The flag stays on the GPU.
        overflow = getattr(self, "found_inf", None)
        taken = gradient.new_ones(())
        if overflow is not None:
            taken = (overflow == 0).to(gradient.dtype).squeeze()
            gradient = gradient.where(taken > 0, 0)
        (beta_1, beta_2), rate = group["betas"], group["lr"]
        state = self.state[table]
        if not state:
            state["step"] = table.new_zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(table)
            state["mean_square"] = table.new_zeros(())
        state["step"] += taken
        state["exp_avg"].lerp_(gradient, (1 - beta_1) * taken)
        square = gradient.square()
        codes = (square.amax(dim=1) > 0).sum().clamp(min=1)
        mean_square = square.sum() / (codes * square.shape[1])
        state["mean_square"].lerp_(mean_square, (1 - beta_2) * taken)
        steps = state["step"].clamp(min=1)
        scale = (state["mean_square"] / (1 - beta_2**steps)).sqrt() + group["eps"]
        table.mul_(1 - rate * group["weight_decay"] * taken)
        step_size = rate * taken / (1 - beta_1**steps) / scale
        table.addcmul_(state["exp_avg"], step_size, value=-1)


def embedding_parameters(model: FESeq) -> list[Tensor]:
    """The weights of all embedding tables, and the learned vectors of numeric columns."""
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    return [*tables, *model.inputs.numeric_vectors()]


def learning_rate(
    peak: float, schedule: str, step: int, steps: int, cuts: Collection[int] = ()
) -> float:
    """The learning rate of the step with the number `step`, from 1 to `steps`.

    With the schedule `cosine`, the rate falls from `peak` along half a cosine. With `plateau`, it
    falls to a tenth after each step in `cuts`.
    """
    rate, floor = peak, peak * MIN_RATE
    if schedule == "cosine":
        left = max(0, steps - step) / steps
        return floor + (rate - floor) * (1 - math.cos(math.pi * left)) / 2
    for cut in cuts:
        rate = max(rate * CUT_FACTOR, floor) if cut < step else rate
    return rate


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of each parameter group: `rate` times its `rate_factor`, if any."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1)
