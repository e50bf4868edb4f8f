"""Trains a boosting model, the mean of several tree ensembles (bags), on H5 files."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost

from ...batches.negatives import NegativeSampler, resolve_sampling_rate
from ...common.files import scratch_dir
from ...common.logits import log_odds, metrics_of
from ...config.declared import Runtime
from ...config.names import Settings
from ...datasets.table import RowSubset, Table
from ...features.feature_map import FeatureMap
from ..base import training_lock
from ..checkpoint import Checkpoint
from ..job import OpenRows, TrainJob
from .boosting import FEATURE_SETS, BoostingConfig
from .choice import ChosenSettings, choose_settings
from .features import FeatureBuilder, fit_features, oov_rates
from .tree_file import BoostedModel, booster_bytes, read_booster
from .trees import METRICS, Matrix, choose_device, fit, quantile_matrix

logger = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Train a model and write its files.

    An interrupted training resumes after the last finished tree ensemble (bag). The same data,
    settings and number of threads give the same model on the same machine.
    """
    config = BoostingConfig(**job.settings["boosting"])
    device, first = choose_device(job.runtime.device), job.first_training()
    with (
        training_lock(job.model),
        job.open_rows() as (feature_map, train, valid),
        scratch_dir(job.model.with_name("matrix")) as folder,
    ):
        about = job.model_info(feature_map, train)
        matrices = folder if device == "cpu" else None
        run = BoostingRun(train, valid, feature_map, config, device, job.threads, matrices, first)
        fitted = run.make_features()
        boosters, history, facts = run.grow(fitted, Checkpoint(job))
        job.write(
            BoostedModel(about, boosters, fitted.features),
            history,
            **facts,
            features=len(fitted.features.columns()),
            **fitted.choice._asdict(),
            by_period=fitted.train_features.by_period,
            few_columns=fitted.features.few_columns,
            oov_rates=fitted.oov_rates,
            train_rows=train.rows,
            negative_sampling_rate=run.negative_sampling_rate,
            valid_rows=valid.rows if valid else 0,
            device=device,
            settings=config.values(),
        )


class FittedFeatures(NamedTuple):
    """Fitted features, and the settings chosen for them.

    `train_features` encodes the train rows, `features` all others, such as validation rows.
    `oov_rates` has, by column, the share of validation rows with an unknown category.
    """

    train_features: FeatureBuilder
    features: FeatureBuilder
    oov_rates: Mapping[str, float]
    choice: ChosenSettings


class BagMatrices(NamedTuple):
    """The binned rows of a tree ensemble (bag), whose trees start from the probability `start`."""

    train: Matrix
    valid: Matrix | None
    start: float | None


@dataclass(frozen=True)
class BoostingRun:
    """One training: its rows, settings, device and threads.

    If `folder` is given, large matrices of binned rows go into files in it. `first_training` is, in
    a refit, the content of the first training's training.json.
    """

    train: Table
    valid: Table | None
    feature_map: FeatureMap
    config: BoostingConfig
    device: str
    threads: int
    folder: Path | None
    first_training: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def negative_sampling_rate(self) -> float:
        """The share of the negatives that each bag draws."""
        label = self.train.column("label")
        return resolve_sampling_rate(
            self.config.negative_sampling_rate, label, "boosting.negative_sampling_rate"
        )

    def make_features(self) -> FittedFeatures:
        """Fit the features, and choose the settings that are `auto`.

        A refit takes the chosen settings from the first training.
        """
        config, first, valid = self.config, self.first_training, self.valid
        rates = first["oov_rates"] if valid is None else oov_rates(valid, self.feature_map)
        sets = first.get("sets", config.features)
        fitted = fit_features(
            self.train,
            self.feature_map,
            FEATURE_SETS if sets == "auto" else sets,
            rates,
            by_period=first.get("by_period"),
            few_columns=first.get("few_columns"),
        )
        if valid is None:
            choice = ChosenSettings(*(first[name] for name in ChosenSettings._fields))
        else:
            rows = (self.train, valid)
            choice = choose_settings(rows, fitted, config, self.device, self.threads)
        train_features, features = (replace(each, sets=choice.sets) for each in fitted)
        return FittedFeatures(train_features, features, rates, choice)

    def resolved_config(self, fitted: FittedFeatures) -> BoostingConfig:
        """The settings, with the chosen `min_child_weight` in place of `auto`."""
        if self.config.min_child_weight != "auto":
            return self.config
        return self.config.model_copy(update={"min_child_weight": fitted.choice.min_child_weight})

    def bin_rows(self, fitted: FittedFeatures, bag: int) -> BagMatrices:
        """Draw negatives for the tree ensemble number `bag`; bin its train and validation rows."""
        train, valid, start = self.train, None, None
        share, threads = self.negative_sampling_rate, self.threads
        if share < 1:
            label = train.column("label")
            sampler = NegativeSampler(label, share, len(label), "boosting.negative_sampling_rate")
            train = RowSubset(train, sampler.draw_rows(0, label, self.config.seed, bag))
        matrix = quantile_matrix(train, fitted.train_features, threads=threads, folder=self.folder)
        if share < 1:
            # The click odds among drawn rows are 1 / share times the odds among all rows. Trees
            # that start from the odds among drawn rows learn differences, equal for both.
            start = float(label.mean())
            margin = log_odds(start) - math.log(sampler.sampling_rate)
            matrix.set_base_margin(np.full(train.rows, margin, np.float32))
        if self.valid is not None:
            valid = quantile_matrix(self.valid, fitted.features, like=matrix, threads=threads)
        logger.info(
            "%s train rows, %s, %d features",
            f"{matrix.num_row():,}",
            f"{valid.num_row():,} validation rows" if valid else "including the validation rows",
            matrix.num_col(),
        )
        return BagMatrices(matrix, valid, start)

    def grow(
        self, fitted: FittedFeatures, checkpoint: Checkpoint
    ) -> tuple[list[xgboost.Booster], list[dict[str, float]], dict[str, Any]]:
        """Train all tree ensembles (bags); `checkpoint` saves finished ones.

        Returns the trees of each bag, the validation metrics of the first bag after each tree, and
        facts for training.json. A refit takes the number of trees and the metrics from the first
        training.
        """
        state = checkpoint.load() or {"boosters": [], "curves": []}
        boosters = [read_booster(each) for each in state["boosters"]]
        curves, logits, bag = state["curves"], [], None
        if boosters:
            logger.info("resuming an interrupted training with %d finished bags", len(boosters))
        for number in range(self.config.bags):
            if bag is None or self.negative_sampling_rate < 1:
                bag = None  # frees memory and the file for the next bag
                bag = self.bin_rows(fitted, number)
            if number == len(boosters):
                changes = {"seed": (self.config.seed + number) % 2**31}
                if self.first_training:
                    changes["trees"] = self.first_training["trees"][number]
                config = self.resolved_config(fitted).model_copy(update=changes)
                booster, curve = fit(*bag, config, self.device, self.threads)
                boosters.append(booster)
                curves.append(curve)
                saved = [booster_bytes(each) for each in boosters]
                checkpoint.save({"boosters": saved, "curves": curves})
            if bag.valid is not None:
                logits.append(boosters[number].predict(bag.valid, output_margin=True))
        assert bag is not None, "there is at least one bag"
        trees = [booster.num_boosted_rounds() for booster in boosters]
        if bag.valid is None:
            metrics = {name: self.first_training[f"valid_{name}"] for name in METRICS.values()}
        elif len(boosters) == 1:
            metrics = {name: values[trees[0] - 1] for name, values in curves[0].items()}
        else:
            # XGBoost computes metrics only of single bags.
            label, logit = bag.valid.get_label(), np.stack(logits).mean(axis=0)
            metrics = dict(zip(METRICS.values(), metrics_of(METRICS.values(), label, logit)))
        lines = enumerate(zip(*curves[0].values()), 1)
        history = [{"tree": tree, **dict(zip(curves[0], values))} for tree, values in lines]
        facts = {f"valid_{name}": value for name, value in metrics.items()}
        return boosters, history, {**facts, "trees": trees, "rows_per_epoch": bag.train.num_row()}


@contextmanager
def trial_runner(rows: OpenRows, folder: Path, runtime: Runtime, threads: int) -> Iterator[Any]:
    """Yield one function, which trains trees with the settings of a trial of a search.

    A trial reuses the binned rows of the previous trial if features and rows are the same. On the
    CPU, large matrices of binned rows go into files in `folder`.
    """
    device, (fields, train, valid) = choose_device(runtime.device), rows
    # The features and the binned rows of the last trial.
    last: dict[str, Any] = {}
    with scratch_dir(folder / "matrix") as work:

        def run_trial(settings: Settings, report: Callable[[float, int], None]) -> dict[str, Any]:
            config = BoostingConfig(**settings["boosting"])
            matrices = work if device == "cpu" else None
            trial = BoostingRun(train, valid, fields, config, device, threads, matrices)
            is_leaf_chosen = config.min_child_weight == "auto"
            key = (config.features, config.negative_sampling_rate, config.seed, is_leaf_chosen)
            if key != last.get("key"):
                last.clear()  # frees memory for new matrices
                fitted = trial.make_features()
                last.update(key=key, fitted=fitted, bag=trial.bin_rows(fitted, 0))
            fitted, bag = last["fitted"], last["bag"]
            best: dict[str, Any] = {"value": float("-inf")}

            def after_tree(trees: int, metrics: Mapping[str, float]) -> None:
                if -metrics["logloss"] > best["value"]:
                    reported = {name: metrics[name] for name in ("auc", "logloss")}
                    best.update(value=-metrics["logloss"], **reported, trees=trees)
                # Low rates need more trees: trials are compared at equal rate times trees.
                learned = int(trees * config.learning_rate)
                if learned > int((trees - 1) * config.learning_rate) and trees < config.trees:
                    report(best["value"], learned)

            config = trial.resolved_config(fitted)
            fit(bag.train, bag.valid, bag.start, config, device, threads, after_tree)
            return best

        yield run_trial
        last.clear()  # XGBoost removes the matrix's file before its folder is removed
