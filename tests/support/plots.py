"""Made-up metrics and histories of models, to be drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

LONG = "a name that is far too long for $any axis " * 4 + "한국\n"
ABOUT = {"full_name": f"full/{LONG}", "simulated_data": True}


def clicks(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels with 2 % clicks and logits with an AUC of about 0.7."""
    random = np.random.default_rng(0)
    logit = random.normal(-4.2, 0.8, rows)
    label = random.random(rows) < 1 / (1 + np.exp(-logit))
    return label.astype(np.uint8), (logit + random.normal(0, 0.3, rows)).astype(np.float32)


def entry(value: float | None) -> dict[str, float | None]:
    low, high = (None, None) if value is None else (value - 0.01, value + 0.01)
    return {"value": value, "low": low, "high": high}


def measured(slices: dict[str, Any] | None = None, **values: float | None) -> dict[str, Any]:
    values = {"auc": 0.7, "average_precision": 0.05, "calibration_error": 0.001} | values
    metrics = {name: entry(value) for name, value in values.items()}
    return ABOUT | {"metrics": metrics, "slices": slices or {}}


def slice_of(
    name: str, rows: int, auc: float | None = None, chance: float | None = 0.5
) -> dict[str, Any]:
    apart = auc and entry(auc - 0.7) | {"chance": chance}
    known = {"auc": auc and entry(auc), "apart": apart}
    return {"slice": name, "rows": rows, "clicks": rows // 9, **known}


def history(evaluations: int) -> pd.DataFrame:
    i = np.arange(evaluations)
    columns = {"epoch": i + 1, "step": 1234 * (i + 1), "train_loss": 0.1 - 0.001 * i}
    # The third is the best.
    columns |= {"auc": 0.7 - 0.001 * (i - 2) ** 2, "logloss": 0.09 + 0.001 * (i - 2) ** 2}
    return pd.DataFrame(columns).assign(monitor=columns["auc"] - 0.1)


def importance(columns: int, chance: float | None = 0.01) -> dict[str, Any]:
    """The losses of that many columns, told apart from chance where there is one."""
    lost = [entry(chance and 0.1 / (1 + i)) | {"chance": chance} for i in range(columns)]
    changes = [{"changed": f"{LONG} {i}", "auc_lost": of} for i, of in enumerate(lost)]
    about = {"rows": 5_000, "clicks": 97, "auc": entry(chance and 0.7)}
    return about | {"columns": changes, "histories": changes[:4]}


def attention(fields: Sequence[str], positions: int) -> dict[str, Any]:
    weights = np.full((len(fields), len(fields)), 1 / max(1, len(fields))).tolist()
    weight_and_rows = [(0.5 / (i + 1), 1000 // (i + 1)) for i in range(positions)]
    return {
        "rows": 1000,
        "fields": list(fields),
        "field_attention": weights or None,
        "positions": [
            {"position": i, "weight": weight, "rows": rows}
            for i, (weight, rows) in enumerate(weight_and_rows)
        ],
    }


def models(*names: str, **given: Any) -> pd.DataFrame:
    """Rows of comparison.csv for these models; `given` replaces columns."""
    auc = 0.75 - 0.002 * np.arange(len(names))
    values = {
        "size": "full",
        "model": names,
        "simulated_data": True,
        "valid_rows": 5_000,
        "valid_clicks": 97,
        "auc": auc,
        "auc_low": auc - 0.01,
        "auc_high": auc + 0.01,
        "auc_behind_chance": 0.5,
    }
    return pd.DataFrame(values | given)


LABEL, LOGIT = clicks()
ONE_CLICK = (np.arange(len(LOGIT)) == 77).astype(np.uint8)


def drawn_texts(figure: Figure) -> list[Text]:
    """All texts that are seen, once the figure is laid out."""
    FigureCanvasAgg(figure).draw()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
