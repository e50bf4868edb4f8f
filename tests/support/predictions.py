"""Files of validation predictions with given logits."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tossctr.common.parquet import write_table


def put_predictions(
    path: Path, label: np.ndarray, logit: np.ndarray, click_rate: float = 0.3, **given: Any
) -> None:
    """Write what a model says of these rows; `given` replaces columns, or joins them."""
    columns = {"row": np.arange(len(label)), "label": label.astype(np.uint8)}
    columns |= {"logit": logit.astype(np.float32)}
    write_table(pa.table(columns | given), path, {"click_rate": str(click_rate)})
