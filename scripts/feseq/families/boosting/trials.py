"""The trials of a search over settings of boosting: trainings of trees."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...common.files import folder_beside
from ...config.runtime import Runtime
from ...family.job import checked_click_rate
from ...features.feature_map import FeatureMap, check_one_draw
from ...storage.opening import open_table
from ...storage.table import monitored_rows
from .device import choose_device
from .features import SETTINGS
from .settings import BoostingConfig
from .train import BoostingRun
from .trees import fit

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
    fields = FeatureMap.read(feature_map)
    kept: dict[str, Any] = {}
    with (
        folder_beside(folder / "matrix") as work,
        open_table(train_h5) as train,
        open_table(valid_h5) as valid,
    ):
        check_one_draw(fields, train, valid)
        checked_click_rate(train)
        chooses = monitored_rows(valid)

        def run(changes: Mapping[str, Mapping[str, Any]], report: Any) -> dict[str, Any]:
            config = base.model_copy(update=dict(changes["boosting"]))
            place = work if device == "cpu" else None
            job = BoostingRun(train, chooses, fields, config, device, threads, place)
            features, drawn = (config.values(keys) for keys in (SETTINGS, _DRAW))
            features["leaf"] = config.min_child_weight == "auto"
            # The old ones are freed before the new ones take their memory.
            if features != kept.get("features"):
                kept.clear()
                kept.update(features=features, fitted=job.make_features())
            if drawn != kept.get("drawn"):
                kept.pop("bag", None)
                kept.update(drawn=drawn, bag=job.bin_rows(kept["fitted"], 0))
            sign = -1 if config.monitor == "logloss" else 1
            best: dict[str, Any] = {"value": float("-inf")}

            def after_tree(trees: int, metrics: Mapping[str, float]) -> None:
                value = sign * metrics[config.monitor]
                if value > best["value"]:
                    shown = {name: metrics[name] for name in ("auc", "logloss")}
                    best.update(value=value, **shown, trees=trees)
                # A low rate needs more trees, so trials are compared at equal sums of the rates.
                learned = int(trees * config.learning_rate)
                if learned > int((trees - 1) * config.learning_rate):
                    report(best["value"], learned, may_end=trees < config.trees)

            bag = kept["bag"]
            settled = job.settled(kept["fitted"])
            options = (device, threads, runtime.verbosity, after_tree)
            fit(bag.train, bag.valid, settled, *options, start=bag.start)
            return best

        yield run
        kept.clear()  # XGBoost removes the matrix's file before its folder is removed
