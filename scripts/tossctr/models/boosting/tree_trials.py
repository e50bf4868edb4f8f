"""The trials of a search over settings of boosting: trainings of trees."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...common.files import folder_beside
from ...config.declared import Runtime
from ..job import checked_click_rate, open_rows
from .boosting import BoostingConfig
from .features import SETTINGS
from .train_trees import BaggedMatrices, BoostingRun, FittedFeatures
from .trees import choose_device, fit

# The settings that the rows of a bag depend on.
_DRAW = {"negative_share", "seed"}


@contextmanager
def trials(
    train_h5: list[Path],
    valid_h5: list[Path],
    feature_map: Path,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    runtime: Runtime,
    threads: int,
) -> Iterator[Any]:
    """Train with a trial's settings, which override these; see `tune.Trials`.

    A trial grows the trees of one bag. Its binned rows are reused by the next trial if features and
    rows are the same. A large matrix is in a file in `folder`.
    """
    base, device = BoostingConfig(**settings["boosting"]), choose_device(runtime.device)
    kept = _Kept()
    with (
        folder_beside(folder / "matrix") as work,
        open_rows(train_h5, valid_h5, feature_map) as (fields, train, valid),
    ):
        checked_click_rate(train)

        def run(changes: Mapping[str, Mapping[str, Any]], report: Any) -> dict[str, Any]:
            config = base.model_copy(update=dict(changes["boosting"]))
            place = work if device == "cpu" else None
            job = BoostingRun(train, valid, fields, config, device, threads, place)
            fitted, bag = kept.made_for(job)
            best = _Best(config, report)
            options = (device, threads, best.after_tree)
            fit(bag.train, bag.valid, job.settled(fitted), *options, start=bag.start)
            return best.metrics

        yield run
        kept.clear()  # XGBoost removes the matrix's file before its folder is removed


class _Kept:
    """The features and the binned rows of the last trial, for a next one that has the same."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Free the memory and the file."""
        self.fitted: FittedFeatures | None = None
        self.bag: BaggedMatrices | None = None
        self._features: dict[str, Any] = {}
        self._drawn: dict[str, Any] = {}

    def made_for(self, job: BoostingRun) -> tuple[FittedFeatures, BaggedMatrices]:
        """Those of this training; old ones are freed before new ones take their memory."""
        features, drawn = (job.config.values(keys) for keys in (SETTINGS, _DRAW))
        features["leaf"] = job.config.min_child_weight == "auto"
        if self.fitted is None or features != self._features:
            self.clear()
            self.fitted, self._features = job.make_features(), features
        if self.bag is None or drawn != self._drawn:
            self.bag = None
            self.bag, self._drawn = job.bin_rows(self.fitted, 0), drawn
        return self.fitted, self.bag


class _Best:
    """The metrics of a trial at its best number of trees, which it reports as trees grow."""

    def __init__(self, config: BoostingConfig, report: Any) -> None:
        self.config, self.report = config, report
        self.metrics: dict[str, Any] = {"value": float("-inf")}

    def after_tree(self, trees: int, metrics: Mapping[str, float]) -> None:
        """See `trees.AfterTree`."""
        rate = self.config.learning_rate
        value = -metrics["logloss"]
        if value > self.metrics["value"]:
            shown = {name: metrics[name] for name in ("auc", "logloss")}
            self.metrics = {"value": value, **shown, "trees": trees}
        # A low rate needs more trees, so trials are compared at equal sums of the rates.
        learned = int(trees * rate)
        if learned > int((trees - 1) * rate):
            self.report(self.metrics["value"], learned, may_end=trees < self.config.trees)
