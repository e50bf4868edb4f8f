"""Score rows in memory with one or several models, for a service or a notebook."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog.loading import load_model
from ..common.logits import checked_weights, mean_logit, prior_shift, require_finite, sigmoid
from ..config.columns import Columns
from ..config.declared import Runtime
from ..config.names import Prior
from ..datasets.rows import Rows, row_table
from ..features.feature_map import needed_columns
from ..models.trained import Model

_CPU = Runtime(device="cpu")


@dataclass(frozen=True, repr=False)
class Blend:
    """One or several models of any kind, and their `weights` in the mean of the logits.

    `columns` are the columns that rows must have. Several threads may share a blend.
    """

    models: Sequence[Model]
    weights: Sequence[float]
    columns: Columns

    @classmethod
    def load(
        cls,
        models: Iterable[Path | str],
        weights: Mapping[str, float] | Sequence[float] | None = None,
        fitted: Path | str | None = None,
        threads: int = 1,
        *,
        runtime: Runtime = _CPU,
    ) -> "Blend":
        """Load models from their files.

        weights: one for each model, by name or in the order of `models`
        fitted: instead, a JSON file of weights by name; without both, models weigh equally

        Raises UserError if a file is not a model, if the weights name other models, or if the
        models have different separators or time columns.
        """
        loaded = [load_model(path, runtime=runtime, threads=threads) for path in models]
        names = [each.about.full_name.rpartition("/")[2] for each in loaded]
        model_weights = checked_weights(weights, names, Path(fitted) if fitted else None)
        columns = needed_columns([each.about.feature_map for each in loaded])
        return cls(loaded, model_weights, columns)

    @property
    def about(self) -> dict[str, Any]:
        """The models' names, their weights, and the click rates of their train rows."""
        names, rates = zip(*((m.about.full_name, m.about.click_rate) for m in self.models))
        return {"models": names, "weights": self.weights, "click_rates": rates}

    @property
    def raw_columns(self) -> list[str]:
        """The names of the columns that a row needs."""
        return [*self.columns.features]

    def score(self, rows: Rows, prior: Prior = "observed") -> np.ndarray:
        """Click probabilities float64 [rows], which assume the click rate of the train rows.

        With the prior 'balanced', they assume a click rate of one half. Raises UserError for a
        missing column, an invalid value, a logit that is not finite, or if 'balanced' is used for
        models with different click rates.
        """
        shift = prior_shift(prior, (each.about.click_rate for each in self.models))
        return sigmoid(self.logits(rows) - shift)

    def logits(self, rows: Rows) -> np.ndarray:
        """The weighted mean of the models' logits, float32 [rows].

        Raises UserError for a missing column, an invalid value or a logit that is not finite.
        """
        table = row_table(rows, self.columns, self.models[0].about.simulated)
        logit = mean_logit([model.predict(table) for model in self.models], self.weights)
        require_finite(logit)
        return logit
