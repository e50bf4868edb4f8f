"""XGBoost's quantile matrix of rows, and the trees that grow on it.

A matrix takes two bytes per row and feature. It is in memory or, if the CPU trains on a large
table, in a file. XGBoost maps the file into memory, and the system caches the pages that fit.
"""

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ...common.errors import UserError
from ...common.machine import has_cuda_device
from ...common.prefetch import prefetch_map
from ...common.progress import Progress
from ...datasets.table import Block, Table
from ...features.encoding import FeatureEncoder
from .boosting import BoostingConfig
from .features import FeatureBuilder

logger = logging.getLogger(__name__)

# Bins of a feature: a byte holds a bin's number.
BINS = 256
# Bins are the quantiles of this many rows; a bin's share is accurate to about 3 %.
SAMPLE_ROWS = 300_000
# A larger matrix goes into a file. XGBoost stores bins twice, by row and by column, a byte each.
MAX_IN_MEMORY = 1 << 30
_BYTES_A_FEATURE = 2
# Blocks in a page of that file: 65,536 rows. With small pages, a tree takes twice as long.
PAGE_BLOCKS = 8
# A training ends after this many trees without gain, and keeps the trees up to the best.
EARLY_STOPPING = 50
# The share of the rows drawn for each tree.
_SUBSAMPLE = 0.8
# Our names of the validation metrics, by XGBoost's names. The last metric decides when to stop.
METRICS = {"auc": "auc", "aucpr": "average_precision", "logloss": "logloss"}

# Features [rows, columns] and labels [rows] of some rows.
Labelled = tuple[np.ndarray, np.ndarray]
Matrix = xgboost.QuantileDMatrix | xgboost.ExtMemQuantileDMatrix
# Is called with the number of trees and the metrics of the validation rows.
AfterTree = Callable[[int, dict[str, float]], None]


def choose_device(name: str) -> str:
    """The device that XGBoost runs on, `cpu` or `cuda`, for the setting `runtime.device`.

    Raises UserError for `cuda` without CUDA, since XGBoost would silently take the CPU.
    """
    has_device, missing = has_cuda_device(), ""
    if not xgboost.build_info().get("USE_CUDA"):
        missing = "this XGBoost is the CPU build (docs/boosting.md)"
    elif not has_device:
        missing = "there is no CUDA device"
    if name == "cuda" and missing:
        raise UserError(f"the setting runtime.device is cuda, but {missing}; use auto or cpu")
    if name == "auto" and missing and has_device:
        logger.warning("boosting runs on the CPU, although there is a GPU: %s", missing)
    device = "cpu" if missing or name == "cpu" else "cuda"
    logger.info("device: %s", device)
    return device


class _Blocks(xgboost.DataIter):
    """Passes blocks of rows to XGBoost, which reads all of them several times."""

    def __init__(
        self, blocks: Callable[[], Iterator[Labelled]], types: list[str], file: str | None = None
    ) -> None:
        super().__init__(file, release_data=True, on_host=False)
        self.blocks, self.types = blocks, types
        self.remaining: Iterator[Labelled] = iter(())

    def next(self, input_data: Any) -> bool:
        """Pass the next block to XGBoost's function `input_data`; false after the last block."""
        block = next(self.remaining, None)
        if block is not None:
            input_data(data=block[0], label=block[1], feature_types=self.types)
        return block is not None

    def reset(self) -> None:
        """Begin again with the first block."""
        self.remaining = self.blocks()


def quantile_matrix(
    table: Table,
    features: FeatureBuilder,
    *,
    like: Matrix | None = None,
    threads: int,
    folder: Path | None = None,
) -> Matrix:
    """XGBoost's matrix of a table: the bin index of each feature of each row, and the labels.

    The bins are those of the matrix `like` or, without it, quantiles of the table's first rows
    (tables are shuffled). If `folder` is given, a large matrix goes into a file in it. Raises
    UserError if there are no features.
    """
    types = [type_ for _, type_ in features.columns()]
    if not types:
        raise UserError(
            f"{table.path}: boosting has no features; name feature sets in boosting.features "
            f"(docs/boosting.md), or remove boosting from the settings submission_models and "
            f"evaluation.baselines"
        )
    options = {"max_bin": BINS, "nthread": threads, "enable_categorical": True}
    blocks = partial(_blocks, table, features, threads)
    if like is None:
        sample = partial(_with_every_category, partial(blocks, SAMPLE_ROWS), features)
        like = xgboost.QuantileDMatrix(_Blocks(sample, types), **options)
    size = table.rows * len(types) * _BYTES_A_FEATURE
    if folder is None or size <= MAX_IN_MEMORY:
        return xgboost.QuantileDMatrix(_Blocks(blocks, types), ref=like, **options)
    # XGBoost crashes on a full disk.
    if (free := shutil.disk_usage(folder).free) < size + size // 8:
        text = f"No space left on device: {free >> 20:,} MiB free, {size >> 20:,} MiB needed"
        raise OSError(errno.ENOSPC, text, str(folder))
    pages = _Blocks(lambda: _pages(blocks()), types, str(folder / "matrix"))
    return xgboost.ExtMemQuantileDMatrix(pages, ref=like, **options)


def _blocks(
    table: Table, features: FeatureBuilder, threads: int, rows: int | None = None
) -> Iterator[Labelled]:
    """Features and labels of a table's rows, or of its first `rows`, block by block."""
    encoder = FeatureEncoder(features.feature_map, table)

    def labelled(block: Block) -> Labelled:
        assert block.label is not None, "a train file has labels"
        return features.matrix(encoder, block), block.label

    progress = Progress("binned", min(rows or table.rows, table.rows))
    blocks = table.blocks(encoder.history_columns, rows)
    for matrix, label in prefetch_map(labelled, blocks, threads):
        progress.advance(len(label))
        yield matrix, label


def _with_every_category(
    blocks: Callable[[], Iterator[Labelled]], features: FeatureBuilder
) -> Iterator[Labelled]:
    """The blocks, then a row with the largest index of each categorical feature.

    XGBoost makes bins only for the categories that it sees; the sample may lack a rare category.
    """
    rows = blocks()
    first, label = next(rows)
    extra, start = first[:1].copy(), len(features.feature_map.numeric)
    for column, field in enumerate(features.few_column_indices, start):
        extra[0, column] = features.feature_map.category_fields[field].size - 1
    return chain([(first, label)], rows, [(extra, label[:1])])


def _pages(blocks: Iterator[Labelled]) -> Iterator[Labelled]:
    """The same rows in pages of PAGE_BLOCKS blocks; the last page may have fewer."""
    while page := [*islice(blocks, PAGE_BLOCKS)]:
        features, labels = zip(*page)
        yield np.concatenate(features), np.concatenate(labels)


def fit(
    train: Matrix,
    valid: Matrix | None,
    start: float | None,
    config: BoostingConfig,
    device: str,
    threads: int,
    after_tree: AfterTree = lambda *_: None,
) -> tuple[xgboost.Booster, dict[str, list[float]]]:
    """Train a tree ensemble; returns it, and each validation metric after each tree.

    Trees after the lowest validation logloss are dropped. Without validation rows, all trees are
    kept, and there are no metrics. `start` is the predicted probability before the first tree;
    None: the share of clicks. `after_tree` may raise an exception to end the training.
    """
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "device": device,
        "nthread": threads,
        "learning_rate": config.learning_rate,
        "max_depth": config.max_depth,
        "min_child_weight": config.min_child_weight,
        "lambda": config.l2,
        "subsample": _SUBSAMPLE,
        "colsample_bytree": config.colsample,
        "max_bin": BINS,
        "seed": config.seed,
        "eval_metric": [*METRICS],
    }
    if start is not None:
        settings["base_score"] = start
    results: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        settings,
        train,
        config.trees,
        evals=[(valid, "valid")] if valid else [],
        evals_result=results,
        early_stopping_rounds=EARLY_STOPPING if valid else None,
        callbacks=[_AfterTree(config.trees, after_tree)],
        verbose_eval=False,
    )
    if not valid:
        return booster, {}
    # Trees after the best are dropped, so the model file does not have them.
    curves = {ours: results["valid"][name] for name, ours in METRICS.items()}
    return booster[: booster.best_iteration + 1], curves


class _AfterTree(xgboost.callback.TrainingCallback):
    """Shows progress, and calls a function with the validation metrics, if any, after each tree."""

    def __init__(self, trees: int, function: AfterTree) -> None:
        super().__init__()
        self.function, self.progress = function, Progress("grown", trees, "trees")

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Call `function` with any metrics; returns False, since True would end the training."""
        self.progress.advance(1)
        if evals_log:
            metrics = {ours: evals_log["valid"][name][-1] for name, ours in METRICS.items()}
            self.function(epoch + 1, metrics)
        return False
