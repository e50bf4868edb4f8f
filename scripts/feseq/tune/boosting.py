"""A model of gradient boosting that is tuned: its trials are trainings of trees."""

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial

from ..boosting.device import choose_device
from ..boosting.training import Binned, bin_rows, checked_click_rate, fit
from ..common.files import folder_beside
from ..common.log import only_errors
from ..common.ranks import process_rank
from ..common.signals import undisturbed
from ..config.boosting import FEATURE_SETTINGS, BoostingConfig
from ..config.runtime import Runtime
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.opening import Files, open_table
from ..families import Settings
from .search import About, Ended, Run, tune_model
from .study import COMPLETE, PRUNED


def tune(
    train_h5: list[Path],
    valid_h5: list[Path],
    feature_map: Path,
    settings: Settings,
    outputs: Mapping[str, Path],
    *,
    model: str,
    variant: Settings,
    **options: Any,
) -> None:
    """Search the settings of boosting, see `tune_model`; `variant` are those of its variant."""
    config = BoostingConfig.from_values(settings["boosting"], "boosting")
    data = (train_h5, valid_h5, feature_map)
    own = variant.get("boosting", {})
    tune_model(TunedBoosting(model, *data, config, outputs["best"], own), outputs, **options)


@dataclass(frozen=True)
class TunedBoosting:
    """The model whose settings are searched; `own` are those of its variant.

    A trial needs its rows in bins, which the next one uses too if its features are the same: a
    large matrix lies in a file beside `out`.
    """

    model: str
    train_h5: Files
    valid_h5: Files
    feature_map_json: Path
    config: BoostingConfig
    out: Path
    own: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[str, ...] = ("trees",)
    blocks: tuple[str, ...] = ("boosting",)

    @property
    def monitor(self) -> Mapping[str, float]:
        """What trials are compared by: a sum of figures, each with its weight."""
        return {self.config.monitor: -1 if self.config.monitor == "logloss" else 1}

    def about(self, *settings: Any) -> About:
        """What the trials depend on."""
        with open_table(self.train_h5) as train, open_table(self.valid_h5) as valid:
            inputs = [f"{table.identity} {table.rows}" for table in (train, valid)]
            simulated = train.source["simulated"]
        inputs.append(hashlib.sha256(self.feature_map_json.read_bytes()).hexdigest())
        values = [self.config.model_dump(), inputs, *settings]
        text = json.dumps(values, sort_keys=True)
        return About(hashlib.sha256(text.encode()).hexdigest()[:16], simulated)

    def best(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The variant of these settings, with those of the variant that was tuned."""
        return {"boosting": {**self.own, **_plain(settings)}}

    def runner(self, runtime: Runtime, threads: int, workers: int, stack: ExitStack) -> Run:
        """What a worker runs trials by."""
        # All would log the same lines on the machine.
        with only_errors(process_rank() > 0):
            device = choose_device(runtime.device)
        return _Trials(self, device, threads, stack)


class _Trials:
    """Runs trials one after the other."""

    def __init__(self, tuned: TunedBoosting, device: str, threads: int, stack: ExitStack) -> None:
        self.tuned, self.device, self.threads = tuned, device, threads
        self.tables = (
            stack.enter_context(open_table(tuned.train_h5)),
            stack.enter_context(open_table(tuned.valid_h5)),
        )
        self.folder = stack.enter_context(folder_beside(tuned.out)) if device == "cpu" else None
        self.feature_map = FeatureMap.read(tuned.feature_map_json)
        check_one_draw(self.feature_map, *self.tables)
        with only_errors():
            checked_click_rate(self.tables[0])
        self.binned: Binned | None = None
        self.binned_by: BoostingConfig | None = None
        # XGBoost removes the matrix's file, whose folder goes next.
        stack.callback(setattr, self, "binned", None)

    def __call__(self, trial: Trial, settings: Mapping[str, Any]) -> Ended:
        """Train with `settings`; the figures are those of the best number of trees."""
        started = time.monotonic()
        config = self.tuned.config.model_copy(update=_plain(settings))
        sign = -1 if config.monitor == "logloss" else 1
        state, figures = COMPLETE, dict[str, Any](trees=0)

        def after_tree(trees: int, found: Mapping[str, float]) -> None:
            value = sign * found[config.monitor]
            if value > figures.get("value", -float("inf")):
                figures.update(value=value, auc=found["auc"], logloss=found["logloss"], trees=trees)
            # Trees of a low rate need be more: trials are compared at equal sums of their rates.
            learned = trees * config.learning_rate
            if int(learned) == int(learned - config.learning_rate):
                return
            with undisturbed():
                trial.report(figures["value"], int(learned))
                is_behind = trees < config.trees and trial.should_prune()
            if is_behind:
                raise optuna.TrialPruned(f"below the median at tree {trees} of {config.trees}")

        with only_errors():
            binned = self._binned(config)
            try:
                fit(binned, config, self.device, self.threads, 0, after_tree)
            except optuna.TrialPruned as error:
                state, figures["reason"] = PRUNED, str(error)
        return state, figures | {"seconds": round(time.monotonic() - started, 2)}

    def _binned(self, config: BoostingConfig) -> Binned:
        """The rows by the settings that their features follow from."""
        by = BoostingConfig(**config.model_dump(include=FEATURE_SETTINGS))
        if self.binned is None or by != self.binned_by:
            self.binned = None  # before the next one takes its memory
            self.binned = bin_rows(
                self.tables, self.feature_map, config, {}, self.threads, self.folder
            )
            self.binned_by = by
        return self.binned


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {path.removeprefix("boosting."): value for path, value in settings.items()}
