"""The metrics that a training monitors."""

from collections.abc import Collection

import numpy as np

from ....common.logits import metrics_of


def monitored_metrics(
    names: Collection[str], label: np.ndarray, logit: np.ndarray, click_rate: float
) -> dict[str, float]:
    """Metrics by name; NaN unless both labels occur and all logits are finite."""
    if not (0 < label.sum() < len(label) and np.isfinite(logit).all()):
        return dict.fromkeys(names, float("nan"))
    return dict(zip(names, metrics_of(names, label, logit, click_rate)))
