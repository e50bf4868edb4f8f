"""The trials of a search over settings of boosting: trainings of trees."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...common.files import folder_beside
from ...config.declared import Runtime
from ...config.names import Settings
from ..job import open_rows
from .boosting import BoostingConfig
from .train_trees import BoostingRun
from .trees import choose_device, fit

# The settings that features and binned rows depend on.
_OF_ROWS = {"features", "negative_share", "seed"}


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
    """Trainings of a search; see `tuning.Trials`.

    A trial grows the trees of one bag. Its binned rows are reused by the next trial if features and
    rows are the same. A large matrix is in a file in `folder`.
    """
    device = choose_device(runtime.device)
    # The features and the binned rows of the last trial.
    kept: dict[str, Any] = {}
    with (
        folder_beside(folder / "matrix") as work,
        open_rows(train_h5, valid_h5, feature_map) as (fields, train, valid),
    ):

        def run(settings: Settings, report: Callable[[float, int], None]) -> dict[str, Any]:
            config = BoostingConfig(**settings["boosting"])
            matrices = work if device == "cpu" else None
            job = BoostingRun(train, valid, fields, config, device, threads, matrices)
            of_rows = config.values(_OF_ROWS) | {"leaf": config.min_child_weight == "auto"}
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
                # A low rate needs more trees, so trials are compared at equal sums of the rates.
                learned = int(trees * config.learning_rate)
                if learned > int((trees - 1) * config.learning_rate) and trees < config.trees:
                    report(best["value"], learned)

            options = (device, threads, after_tree)
            fit(bag.train, bag.valid, job.settled(fitted), *options, start=bag.start)
            return best

        yield run
        kept.clear()  # XGBoost removes the matrix's file before its folder is removed
