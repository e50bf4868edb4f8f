"""Adam for groups of parameters, and its learning rate at each step."""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..network import FESeq
from ..network_settings import TrainConfig

# A cut divides the rate by 10; cuts and decay leave at least a thousandth of it.
CUT, FLOOR = 0.1, 1e-3


def make_optimizer(model: FESeq, config: TrainConfig) -> "TableAdam":
    """AdamW of three groups: weights, which decay; biases and norms; embeddings."""
    embeddings = embedding_parameters(model)
    ids = {id(parameter) for parameter in embeddings}
    others = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    weights = [parameter for parameter in others if parameter.dim() > 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in others if parameter.dim() <= 1]},
        {
            "params": embeddings,
            "rate_factor": config.embedding_rate_factor,
            "by_table": config.embedding_second_moment == "table",
        },
    ]
    return TableAdam(groups, lr=config.learning_rate, weight_decay=0, fused=True)


class TableAdam(AdamW):
    """AdamW whose groups with `by_table` have one second moment a table: the mean of its weights'.

    Adam moves each weight by about the rate, a rare code as far for a row without a click as for
    a click, whose gradient is fifty times as large if 2 % are clicks. Divided by one number for
    all codes, steps keep the proportions of their gradients. The formula is that of a block in
    Adam-mini (Zhang et al., arXiv:2406.16793), which leaves embeddings to Adam.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; one that overflowed counts as 0."""
        groups = [group for group in self.param_groups if group.get("by_table")]
        tables = [(t, t.grad, g) for g in groups for t in g["params"] if t.grad is not None]
        for table, _, _ in tables:
            table.grad = None  # AdamW skips it.
        super().step()
        for table, gradient, group in tables:
            table.grad = gradient
            self._update(table, gradient, group)

    def _update(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        # The scaler's flag of an overflow in float16 stays on the GPU. AdamW skips such a step.
        overflow = getattr(self, "found_inf", None)
        if overflow is not None:
            gradient = gradient.where(overflow == 0, 0)
        (beta_1, beta_2), rate = group["betas"], group["lr"]
        state = self.state[table]
        if not state:
            state["step"] = table.new_zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(table)
            state["mean_square"] = table.new_zeros(())
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1 - beta_1)
        state["mean_square"].lerp_(gradient.square().mean(), 1 - beta_2)
        scale = (state["mean_square"] / (1 - beta_2 ** state["step"])).sqrt() + group["eps"]
        table.mul_(1 - rate * group["weight_decay"])
        step_size = rate / (1 - beta_1 ** state["step"]) / scale
        table.addcmul_(state["exp_avg"], step_size, value=-1)


def embedding_parameters(model: FESeq) -> list[Tensor]:
    """The weights of all embedding tables, and the numeric embeddings."""
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    return [*tables, *model.inputs.numeric_vectors()]


def learning_rate(config: TrainConfig, step: int, steps: int, cuts: Collection[int] = ()) -> float:
    """The rate of a step, from 1 to `steps`.

    `cosine`: it falls over all steps, as half a cosine. `plateau`: it falls to a tenth after each
    step in `cuts`.
    """
    rate, floor = config.learning_rate, config.learning_rate * FLOOR
    if config.schedule == "cosine":
        left = max(0, steps - step) / steps
        return floor + (rate - floor) * (1 - math.cos(math.pi * left)) / 2
    for cut in cuts:
        rate = max(rate * CUT, floor) if cut < step else rate
    return rate


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Let the next step have this rate, which a group's `rate_factor` multiplies."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1)
