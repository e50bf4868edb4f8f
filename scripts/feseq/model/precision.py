"""Full precision where autocast must not round products."""

import torch
from torch import Tensor


def full_precision(x: Tensor) -> torch.autocast:
    """A block in which products have the type of their inputs, also inside autocast.

    It is for vectors of whole rows, which are little work. Pooled vectors of different rows differ
    little, and bfloat16 cannot tell logits near -4 apart that differ by less than 0.016.
    """
    return torch.autocast(x.device.type, enabled=False)
