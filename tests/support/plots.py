"""Made-up metrics and histories of models, to be drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

LONG = "a name that is far too long for $any axis " * 4 + "한국\n"


def clicks(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels with 2 % clicks and logits with an AUC of about 0.7."""
    random = np.random.default_rng(0)
    logit = random.normal(-4.2, 0.8, rows)
    label = random.random(rows) < 1 / (1 + np.exp(-logit))
    return label.astype(np.uint8), (logit + random.normal(0, 0.3, rows)).astype(np.float32)


def entry(value: float | None) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def measured(slices: dict[str, Any] | None = None, **values: float | None) -> dict[str, Any]:
    values = {"auc": 0.7, "average_precision": 0.05, "calibration_error": 0.001} | values
    return {
        "full_name": f"full/{LONG}",
        "clicks": 97,
        "simulated_data": True,
        "metrics": {name: entry(value) for name, value in values.items()},
        "slices": slices or {},
    }


def slice_of(
    name: str, rows: int, auc: float | None = None, chance: float | None = 0.5
) -> dict[str, Any]:
    apart = auc and entry(auc - 0.7) | {"chance": chance}
    known = {"auc": auc and entry(auc), "apart": apart}
    return {"slice": name, "rows": rows, "clicks": rows // 9, **known}


def history(evaluations: int, weight: float = 1.0) -> pd.DataFrame:
    i = np.arange(evaluations)
    fall = 0.001 * (i - 2) ** 2
    return pd.DataFrame(
        {
            "epoch": i + 1,
            "step": 1234 * (i + 1),
            "train_loss": weight * (0.1 - 0.001 * i),
            "auc": 0.7 - fall,
            "logloss": 0.09 + fall,
            "monitor": 0.6 - fall,
        }
    )


def importance(columns: int, chance: float | None = 0.01) -> dict[str, Any]:
    """The losses of that many columns, told apart from chance where there is one."""
    lost = [entry(chance and 0.1 / (1 + i)) | {"chance": chance} for i in range(columns)]
    changes = [{"changed": f"{LONG} {i}", "auc_lost": of} for i, of in enumerate(lost)]
    about = {"full_name": LONG, "simulated_data": True, "rows": 5_000, "clicks": 97}
    return about | {"auc": entry(chance and 0.7), "columns": changes, "histories": changes[:4]}


def attention(fields: Sequence[str], positions: int) -> dict[str, Any]:
    weights = np.random.default_rng(0).dirichlet(np.ones(max(1, len(fields))), len(fields))
    return {
        "rows": 1000,
        "fields": list(fields),
        "field_attention": weights.tolist() if fields else None,
        "positions": [
            {"position": i, "weight": 0.5 / (i + 1), "rows": 1000 // (i + 1)}
            for i in range(positions)
        ]
        or None,
    }


def models(*names: str, **given: Any) -> pd.DataFrame:
    """Rows of comparison.csv for these models; `given` replaces columns."""
    auc = 0.75 - 0.002 * np.arange(len(names))
    values = {
        "size": "full",
        "model": names,
        "kind": ["feseq" if name.startswith("len") else "baseline" for name in names],
        "simulated_data": True,
        "unseen": False,
        "valid_rows": 5_000,
        "train_rows": 45_000,
        "agreement": 0.9,
        "valid_clicks": 97,
        "enough_clicks": True,
        "auc_behind": auc[0] - auc,
        "auc_behind_chance": 0.5,
        "score_gain": 0.0,
        "auc": auc,
        "auc_low": auc - 0.01,
        "auc_high": auc + 0.01,
        "train_samples_per_second": 1234.0,
        "predict_samples_per_second": 5678.0,
        "train_seconds": 90.0,
        "epochs": 3,
        "peak_memory_mib": 1536.0,
        "device": "cpu",
        **dict.fromkeys(("score", "score_balanced", "auc_blanked", "share_of_best"), 0.5),
    }
    return pd.DataFrame(values | given)


LABEL, LOGIT = clicks()
ONE_CLICK = (np.arange(len(LOGIT)) == 77).astype(np.uint8)


def drawn_texts(figure: Figure) -> list[Text]:
    """All texts that are seen, once the figure is laid out."""
    FigureCanvasAgg(figure).draw()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
