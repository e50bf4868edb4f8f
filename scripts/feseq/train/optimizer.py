"""The optimizer: Adam, with groups of parameters that learn and decay in their own ways."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..config.train import TrainConfig
from ..model import FESeq


def make_optimizer(model: FESeq, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW of three groups: weights; biases and norms, which never decay; embeddings.

    Without decay, and with a factor of 1, it is Adam.
    """
    embeddings = embedding_parameters(model)
    known = {id(parameter) for parameter in embeddings}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [
        _group([p for p in others if p.dim() > 1], config.weight_decay),
        _group([p for p in others if p.dim() <= 1], 0),
        _group(embeddings, config.embedding_weight_decay, config.embedding_rate_factor),
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def embedding_parameters(model: FESeq) -> list[Tensor]:
    """The weights of all embedding tables, and the numeric embeddings."""
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    return [*tables, *model.front.own_parameters()]


def _group(parameters: Sequence[Tensor], decay: float, factor: float = 1) -> dict[str, object]:
    return {"params": parameters, "weight_decay": decay, "rate_factor": factor}
