"""Training of gradient boosting: from H5 files and a feature map to the model and its metrics."""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ...batches.negatives import NegativeDraw, chosen_share
from ...common.files import folder_beside
from ...common.logits import log_odds, sigmoid
from ...family.job import TrainJob
from ...features.feature_map import FeatureMap
from ...storage.table import SomeRows, Table
from .choice import Choice, choose
from .device import choose_device
from .features import Features, fit_features, unknown_shares
from .matrix import Matrix, quantile_matrix
from .model_file import BoostedModel
from .settings import FEATURE_SETS, BoostingConfig
from .trees import fit

logger = logging.getLogger(__name__)

# The metrics of the bags' mean; XGBoost computes those of a single bag, see trees.METRICS.
_METRICS = {"auc": roc_auc_score, "average_precision": average_precision_score, "logloss": log_loss}


def train(job: TrainJob) -> None:
    """Train a model.

    A refit has as many trees as the first training kept; the validation metrics are that one's. The
    same data, settings and number of threads give the same model on the same machine. An
    interrupted training begins again.
    """
    config = BoostingConfig.from_values(job.settings["boosting"], "boosting")
    device, before = choose_device(job.runtime.device), job.before()
    with (
        job.opened() as (codes, train, valid),
        folder_beside(job.model.with_name("matrix")) as folder,
    ):
        about = job.about(codes, train)
        place = folder if device == "cpu" else None
        run = BoostingRun(train, valid, codes, config, device, job.threads, place, before)
        made = run.make_features()
        boosters, history, facts = run.grow(made, job.runtime.verbosity)
        seconds = time.monotonic() - job.started
        job.write(
            BoostedModel(about, boosters, made.features),
            history,
            **facts,
            features=len(made.features.columns()),
            **made.choice._asdict(),
            by_period=made.own.by_period,
            unknown_shares=made.unknown,
            train_rows=train.rows,
            negative_share=run.negative_share,
            valid_rows=valid.rows if valid else 0,
            samples_per_second=round(train.rows / seconds, 1),
            device=device,
            settings=config.values(),
        )


class Made(NamedTuple):
    """The features of train rows, `own`, and of others; `unknown` has shares by column."""

    own: Features
    features: Features
    unknown: Mapping[str, float]
    choice: Choice


class Bag(NamedTuple):
    """The binned rows of a bag and of validation, which a refit has not, and `start` of `fit`."""

    train: Matrix
    valid: Matrix | None
    start: float | None


@dataclass(frozen=True)
class BoostingRun:
    """The rows and settings of one training, and what of the machine it uses.

    A large matrix goes into a file in `folder`, if given. A refit has no `valid` rows: these are
    among the train rows. `before` is what the first training wrote.
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
    def negative_share(self) -> float:
        """The share of the train rows without a click that a bag has."""
        label = self.train.column("label")
        return chosen_share(self.config.negative_share, label, "boosting.negative_share")

    def make_features(self) -> Made:
        """The features of train and validation rows, of the sets that are given or chosen."""
        config, before, valid = self.config, self.before, self.valid
        unknown = before.get("unknown_shares", {})
        if valid is not None:
            unknown = unknown_shares(valid, self.feature_map)
            if config.unknown_share != "auto":
                unknown = dict.fromkeys(unknown, config.unknown_share)
        chosen = before.get("sets", config.features)
        own, features = fit_features(
            self.train,
            self.feature_map,
            FEATURE_SETS if chosen == "auto" else chosen,
            unknown,
            by_period=before.get("by_period"),
        )
        if valid is None:
            choice = Choice(*(before[name] for name in Choice._fields))
        elif "auto" in (config.features, config.min_child_weight):
            rows = (self.train, valid)
            choice = choose(rows, (own, features), config, self.device, self.threads)
        else:
            sets = [name for name in FEATURE_SETS if name in config.features]
            choice = Choice(float(config.min_child_weight), sets, [])
        own, features = (each.with_sets(choice.sets) for each in (own, features))
        return Made(own, features, unknown, choice)

    def settled(self, made: Made) -> BoostingConfig:
        """The settings, with what was chosen in place of `auto`."""
        if self.config.min_child_weight != "auto":
            return self.config
        return self.config.model_copy(update={"min_child_weight": made.choice.min_child_weight})

    def bin_rows(self, made: Made, bag: int) -> Bag:
        """The rows of a bag."""
        train, valid, start = self.train, None, None
        share, threads = self.negative_share, self.threads
        if share < 1:
            label = train.column("label")
            draw = NegativeDraw(label, share, len(label), "boosting.negative_share")
            train = SomeRows(train, draw.drawn(0, label, self.config.seed, bag))
        matrix = quantile_matrix(train, made.own, threads=threads, folder=self.folder)
        if share < 1:
            # The odds of a click among the drawn rows are 1 / kept_share times those among all.
            # Trees that start from the former say what a row adds to either.
            start = float(label.mean())
            margin = log_odds(start) - math.log(draw.kept_share)
            matrix.set_base_margin(np.full(train.rows, margin, np.float32))
        if self.valid is not None:
            valid = quantile_matrix(self.valid, made.features, like=matrix, threads=threads)
        logger.info(
            "%s train rows, %s validation rows, %d features",
            f"{matrix.num_row():,}",
            f"{valid.num_row():,}" if valid else "no",
            matrix.num_col(),
        )
        return Bag(matrix, valid, start)

    def grow(
        self, made: Made, verbosity: int
    ) -> tuple[list[xgboost.Booster], list[dict[str, float]], dict[str, Any]]:
        """The trees of all bags, the first bag's history, and what training.json says of them.

        There are as many as the validation rows want, or as the first training had, whose metrics
        are those of a refit.
        """
        boosters, curves, logits, bag = [], [], [], None
        for number in range(self.config.bags):
            if bag is None or self.negative_share < 1:
                bag = None  # its memory and its file go before those of the next come
                bag = self.bin_rows(made, number)
            changes = {"seed": (self.config.seed + number) % 2**31}
            if self.before:
                changes["trees"] = self.before["trees"][number]
            config = self.settled(made).model_copy(update=changes)
            where = (self.device, self.threads, verbosity)
            booster, curve = fit(bag.train, bag.valid, config, *where, start=bag.start)
            boosters.append(booster)
            curves.append(curve)
            if bag.valid is not None:
                logits.append(booster.predict(bag.valid, output_margin=True))
        assert bag is not None, "there is at least one bag"
        trees = [booster.num_boosted_rounds() for booster in boosters]
        if bag.valid is None:
            metrics = {name: self.before[f"valid_{name}"] for name in _METRICS}
        elif len(boosters) == 1:
            metrics = {name: values[trees[0] - 1] for name, values in curves[0].items()}
        else:
            shown = bag.valid.get_label(), sigmoid(np.stack(logits).mean(axis=0))
            metrics = {name: metric(*shown) for name, metric in _METRICS.items()}
        lines = enumerate(zip(*curves[0].values()), 1)
        history = [{"tree": tree, **dict(zip(curves[0], values))} for tree, values in lines]
        facts = {f"valid_{name}": value for name, value in metrics.items()}
        return boosters, history, {**facts, "trees": trees, "rows_per_epoch": bag.train.num_row()}
