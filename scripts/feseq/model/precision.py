"""Where products must not be rounded to half precision."""

import torch
from torch import Tensor


def full_precision(x: Tensor) -> torch.autocast:
    """A block in which products have the type of their inputs, whatever surrounds it.

    For what stands for a whole row: it is little work, and everything hangs on it. Pooled vectors
    of different rows differ little from each other, and bfloat16 tells logits near -4 apart from
    0.016 on.
    """
    return torch.autocast(x.device.type, enabled=False)
