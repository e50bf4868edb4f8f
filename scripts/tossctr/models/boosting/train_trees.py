"""The training of gradient boosting, from H5 files and a feature map to a model and its metrics."""

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

from ...batches.negatives import NegativeDraw, chosen_rate
from ...common.files import scratch_dir
from ...common.logits import log_odds, metrics_of
from ...config.declared import Runtime
from ...config.names import Settings
from ...datasets.table import RowSubset, Table
from ...features.feature_map import FeatureMap
from ..base import training_lock
from ..checkpoint import Checkpoint
from ..job import TrainJob, open_rows
from .boosting import FEATURE_SETS, BoostingConfig
from .choice import Choice, choose
from .features import Features, fit_features, oov_rates
from .tree_file import BoostedModel, booster_bytes, read_booster
from .trees import METRICS, Matrix, choose_device, fit, quantile_matrix

logger = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Train a model.

    A refit takes the number of trees and the validation metrics of the first training. The same
    data, settings and number of threads give the same model on the same machine. An interrupted
    training keeps the bags that were grown.
    """
    config = BoostingConfig(**job.settings["boosting"])
    device, before = choose_device(job.runtime.device), job.before()
    with (
        training_lock(job.model),
        job.opened() as (feature_map, train, valid),
        scratch_dir(job.model.with_name("matrix")) as folder,
    ):
        about = job.about(feature_map, train)
        matrices = folder if device == "cpu" else None
        run = BoostingRun(train, valid, feature_map, config, device, job.threads, matrices, before)
        fitted = run.make_features()
        boosters, history, facts = run.grow(fitted, Checkpoint(job))
        job.write(
            BoostedModel(about, boosters, fitted.features),
            history,
            **facts,
            features=len(fitted.features.columns()),
            **fitted.choice._asdict(),
            by_period=fitted.train_features.by_period,
            few_columns=fitted.features.few,
            oov_rates=fitted.unknown,
            train_rows=train.rows,
            negative_sampling_rate=run.negative_sampling_rate,
            valid_rows=valid.rows if valid else 0,
            device=device,
            settings=config.values(),
        )


class FittedFeatures(NamedTuple):
    """Features of train rows and of all other rows; `unknown`: unknown share by column."""

    train_features: Features
    features: Features
    unknown: Mapping[str, float]
    choice: Choice


class BaggedMatrices(NamedTuple):
    """A bag's binned train rows, the validation rows (None in a refit), and `start` of `fit`."""

    train: Matrix
    valid: Matrix | None
    start: float | None


@dataclass(frozen=True)
class BoostingRun:
    """The rows and settings of one training, its device and its threads.

    A large matrix goes into a file in `folder`, if given. A refit has no `valid` rows: they are
    among the train rows. `before` has the facts that the first training wrote.
    """

    train: Table
    valid: Table | None
    feature_map: FeatureMap
    config: BoostingConfig
    device: str
    threads: int
    folder: Path | None
    before: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def negative_sampling_rate(self) -> float:
        """The share of the train rows' negatives in a bag."""
        label = self.train.column("label")
        return chosen_rate(
            self.config.negative_sampling_rate, label, "boosting.negative_sampling_rate"
        )

    def make_features(self) -> FittedFeatures:
        """The features of train and validation rows, of the configured or chosen sets."""
        config, before, valid = self.config, self.before, self.valid
        unknown = before.get("oov_rates", {})
        if valid is not None:
            unknown = oov_rates(valid, self.feature_map)
        chosen = before.get("sets", config.features)
        fitted = fit_features(
            self.train,
            self.feature_map,
            FEATURE_SETS if chosen == "auto" else chosen,
            unknown,
            by_period=before.get("by_period"),
            few_columns=before.get("few_columns"),
        )
        if valid is None:
            choice = Choice(*(before[name] for name in Choice._fields))
        else:
            choice = choose((self.train, valid), fitted, config, self.device, self.threads)
        own, others = (replace(each, sets=choice.sets) for each in fitted)
        return FittedFeatures(own, others, unknown, choice)

    def settled(self, fitted: FittedFeatures) -> BoostingConfig:
        """The settings, with the choices in place of `auto`."""
        if self.config.min_child_weight != "auto":
            return self.config
        return self.config.model_copy(update={"min_child_weight": fitted.choice.min_child_weight})

    def bin_rows(self, fitted: FittedFeatures, bag: int) -> BaggedMatrices:
        """The matrices of a bag."""
        train, valid, start = self.train, None, None
        share, threads = self.negative_sampling_rate, self.threads
        if share < 1:
            label = train.column("label")
            draw = NegativeDraw(label, share, len(label), "boosting.negative_sampling_rate")
            train = RowSubset(train, draw.drawn(0, label, self.config.seed, bag))
        matrix = quantile_matrix(train, fitted.train_features, threads=threads, folder=self.folder)
        if share < 1:
            # The odds of a click among the drawn rows are 1 / share times the odds among all rows.
            # Trees that start from the former learn a row's difference, which is the same for both.
            start = float(label.mean())
            margin = log_odds(start) - math.log(draw.sampling_rate)
            matrix.set_base_margin(np.full(train.rows, margin, np.float32))
        if self.valid is not None:
            valid = quantile_matrix(self.valid, fitted.features, like=matrix, threads=threads)
        logger.info(
            "%s train rows, %s validation rows, %d features",
            f"{matrix.num_row():,}",
            f"{valid.num_row():,}" if valid else "no",
            matrix.num_col(),
        )
        return BaggedMatrices(matrix, valid, start)

    def grow(
        self, fitted: FittedFeatures, checkpoint: Checkpoint
    ) -> tuple[list[xgboost.Booster], list[dict[str, float]], dict[str, Any]]:
        """The trees of all bags, the first bag's history, and facts for training.json.

        The validation rows decide the number of trees. A refit takes the number and the metrics of
        the first training. `checkpoint` has the trees of the bags that an interrupted training
        finished.
        """
        state = checkpoint.load() or {"boosters": [], "curves": []}
        boosters = [read_booster(each) for each in state["boosters"]]
        curves, logits, bag = state["curves"], [], None
        if boosters:
            logger.info("resuming an interrupted training: %d bags are grown", len(boosters))
        for number in range(self.config.bags):
            if bag is None or self.negative_sampling_rate < 1:
                bag = None  # frees its memory and its file before the next bag takes them
                bag = self.bin_rows(fitted, number)
            if number == len(boosters):
                changes = {"seed": (self.config.seed + number) % 2**31}
                if self.before:
                    changes["trees"] = self.before["trees"][number]
                config = self.settled(fitted).model_copy(update=changes)
                options = (self.device, self.threads)
                booster, curve = fit(bag.train, bag.valid, config, *options, start=bag.start)
                boosters.append(booster)
                curves.append(curve)
                saved = [booster_bytes(each) for each in boosters]
                checkpoint.save({"boosters": saved, "curves": curves})
            if bag.valid is not None:
                logits.append(boosters[number].predict(bag.valid, output_margin=True))
        assert bag is not None, "there is at least one bag"
        trees = [booster.num_boosted_rounds() for booster in boosters]
        if bag.valid is None:
            metrics = {name: self.before[f"valid_{name}"] for name in METRICS.values()}
        elif len(boosters) == 1:
            metrics = {name: values[trees[0] - 1] for name, values in curves[0].items()}
        else:
            # XGBoost computes only the metrics of single bags.
            label, logit = bag.valid.get_label(), np.stack(logits).mean(axis=0)
            metrics = dict(zip(METRICS.values(), metrics_of(METRICS.values(), label, logit)))
        lines = enumerate(zip(*curves[0].values()), 1)
        history = [{"tree": tree, **dict(zip(curves[0], values))} for tree, values in lines]
        facts = {f"valid_{name}": value for name, value in metrics.items()}
        return boosters, history, {**facts, "trees": trees, "rows_per_epoch": bag.train.num_row()}


@contextmanager
def trials(
    train_h5: list[Path],
    valid_h5: list[Path],
    feature_map: Path,
    folder: Path,
    *,
    runtime: Runtime,
    threads: int,
) -> Iterator[Any]:
    """Trainings of a search; see `tuning.RunTrial`.

    A trial grows the trees of one bag. Its binned rows are reused by the next trial if features and
    rows are the same. A large matrix is in a file in `folder`.
    """
    device = choose_device(runtime.device)
    # The features and the binned rows of the last trial.
    kept: dict[str, Any] = {}
    with (
        scratch_dir(folder / "matrix") as work,
        open_rows(train_h5, valid_h5, feature_map) as (fields, train, valid),
    ):

        def run(settings: Settings, report: Callable[[float, int], None]) -> dict[str, Any]:
            config = BoostingConfig(**settings["boosting"])
            matrices = work if device == "cpu" else None
            job = BoostingRun(train, valid, fields, config, device, threads, matrices)
            is_leaf_chosen = config.min_child_weight == "auto"
            of_rows = (config.features, config.negative_sampling_rate, config.seed, is_leaf_chosen)
            if of_rows != kept.get("of_rows"):
                kept.clear()  # before new ones take their memory
                fitted = job.make_features()
                kept.update(of_rows=of_rows, fitted=fitted, bag=job.bin_rows(fitted, 0))
            fitted, bag = kept["fitted"], kept["bag"]
            best: dict[str, Any] = {"value": float("-inf")}

            def after_tree(trees: int, metrics: Mapping[str, float]) -> None:
                if -metrics["logloss"] > best["value"]:
                    shown = {name: metrics[name] for name in ("auc", "logloss")}
                    best.update(value=-metrics["logloss"], **shown, trees=trees)
                # A low rate needs more trees, so trials are compared at equal trees times rate.
                learned = int(trees * config.learning_rate)
                if learned > int((trees - 1) * config.learning_rate) and trees < config.trees:
                    report(best["value"], learned)

            options = (device, threads, after_tree)
            fit(bag.train, bag.valid, job.settled(fitted), *options, start=bag.start)
            return best

        yield run
        kept.clear()  # XGBoost removes the matrix's file before its folder is removed
