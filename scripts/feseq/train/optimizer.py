"""The optimizers: Adam, with groups of parameters that learn and decay in their own ways."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..config.train import TrainConfig
from ..model import FESeq


def make_optimizers(model: FESeq, config: TrainConfig) -> list[Optimizer]:
    """AdamW of three groups: weights; biases and norms, which never decay; embeddings.

    With `embedding_scale: table` the embeddings have a TableAdam. Without decay, and with a factor
    of 1, it is all Adam.
    """
    embeddings = embedding_parameters(model)
    known = {id(parameter) for parameter in embeddings}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [
        _group([p for p in others if p.dim() > 1], config.weight_decay),
        _group([p for p in others if p.dim() <= 1], 0),
    ]
    of_embeddings = _group(embeddings, config.embedding_weight_decay, config.embedding_rate_factor)
    rate = config.learning_rate
    if config.embedding_scale == "table":
        return [AdamW(groups, lr=rate, fused=True), TableAdam([of_embeddings], lr=rate)]
    return [AdamW([*groups, of_embeddings], lr=rate, fused=True)]


class TableAdam(Optimizer):
    """AdamW with one second moment for each table, the mean of its weights', in place of theirs.

    Adam moves each weight by about the rate, however small its gradient. So a code that a thousand
    steps see once goes as far by a row without a click as by a click, whose gradient is fifty times
    as large where clicks are 2 %. By one scale for all codes, these steps add up to what the code's
    rows say, and few rows say little. Adam-mini (Zhang et al., arXiv:2406.16793) has such blocks.
    """

    # In float16, the scaler does not wait for `found_inf`, and leaves it to the step.
    _step_supports_amp_scaling = True

    def __init__(self, groups: Sequence[dict[str, object]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every table that has a gradient; one that overflowed counts as 0."""
        overflow = getattr(self, "found_inf", None)
        for group in self.param_groups:
            for table in group["params"]:
                gradient = table.grad
                if gradient is not None and overflow is not None:
                    gradient = gradient.where(overflow == 0, 0)
                if gradient is not None:
                    self._update(table, gradient, group)

    def _update(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        (beta_1, beta_2), rate = group["betas"], group["lr"]
        state = self.state[table]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(table)
            state["mean_square"] = table.new_zeros(())
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1 - beta_1)
        state["mean_square"].lerp_(gradient.square().mean(), 1 - beta_2)
        scale = (state["mean_square"] / (1 - beta_2 ** state["step"])).sqrt() + group["eps"]
        table.mul_(1 - rate * group["weight_decay"])
        table.sub_(state["exp_avg"] * (rate / (1 - beta_1 ** state["step"]) / scale))


def embedding_parameters(model: FESeq) -> list[Tensor]:
    """The weights of all embedding tables, and the numeric embeddings."""
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    return [*tables, *model.front.own_parameters()]


def _group(parameters: Sequence[Tensor], decay: float, factor: float = 1) -> dict[str, object]:
    return {"params": parameters, "weight_decay": decay, "rate_factor": factor}
