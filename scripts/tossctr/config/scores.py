"""What predictions of a table are scored by, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ScoreName = Literal["toss", "logloss", "auc", "average_precision"]
Prior = Literal["observed", "balanced"]


@dataclass(frozen=True)
class TableScore:
    """A score: the name of its metric in evaluate/metrics.py, and the odds at which it is best.

    `monitor` is the default of `train.monitor`; None: as declared there.
    """

    metric: str
    prior: Prior = "observed"
    monitor: Mapping[str, float] | None = None


SCORES: dict[ScoreName, TableScore] = {
    "toss": TableScore("balanced_score", "balanced", {"balanced_score": 1}),
    "logloss": TableScore("logloss"),
    "auc": TableScore("auc"),
    "average_precision": TableScore("average_precision"),
}


def table_score(config: Mapping[str, Any]) -> TableScore:
    """What predictions of the config's table are scored by."""
    return SCORES[config["table"]["score"]]


def submission_prior(config: Mapping[str, Any]) -> Prior:
    """The odds of a submission: those of `submission.prior`, else those of the table's score."""
    return config["submission"]["prior"] or table_score(config).prior
