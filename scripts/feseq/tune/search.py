"""Tuning: many trainings of one model with settings that Optuna draws; the best become a variant.

    tune_model ──▶ a study in a file ◀──▶ workers: draw settings, train, judge each evaluation
         └──▶ trials.csv, best.yaml

With several workers the order in which trials end, and so what the next ones draw, may differ from
run to run. On a GPU all workers share the card.
"""

import csv
import functools
import logging
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from ..common.errors import NotEnoughMemoryError, NotFiniteError, UserError
from ..common.files import written_beside
from ..common.log import only_errors
from ..config.runtime import Runtime
from ..config.space import TuneConfig, by_block, check_space
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.store import H5Table
from ..machine.ranks import process_rank
from ..machine.runtime import Machine, start_runtime
from ..model.build import build_model
from ..train.launch import launch
from ..train.loop import Trainer
from ..train.resume import locked
from ..train.run import TrainingRun, make_sources, make_trainer
from .study import COMPLETE, PRUNED, SavedStudy, best_of, figures_of, place_of

logger = logging.getLogger(__name__)

_FIGURES = ("value", "auc", "logloss", "epochs", "steps", "seconds")


def tune_model(
    tuning: TrainingRun,
    outputs: Mapping[str, Path],
    *,
    size: str,
    tune_config: TuneConfig,
    runtime: Runtime,
    threads: int,
    code: Sequence[str] = (),
) -> None:
    """Search the settings of a model; write `outputs`: trials (CSV) and, last, best (YAML).

    The study is kept in a folder `study` beside them. An interrupted one goes on from there if
    settings, space, data and `code`, digests of it, are the same. Raises UserError for a space that
    cannot be searched, and if no trial came to an end.
    """
    check_space(tune_config.space)
    with H5Table(tuning.train_h5) as train, H5Table(tuning.valid_h5) as valid:
        key = tuning.key(
            train,
            valid,
            {"space": tune_config.space, "seed": tune_config.seed},
            tune_config.startup_trials,
            list(code),
        )
        rows, simulated = train.rows, train.source["simulated"]
    if simulated:
        logger.warning("tuning on SIMULATED data: its best settings know nothing of real clicks")
    saved = SavedStudy(outputs["best"].parent / "study", key, tune_config, rows)
    with locked(saved.folder, "is tuning this model already"):
        _run(tuning, saved, saved.prepare(), runtime, threads)
        with saved.open() as study:
            trials = saved.finished(study)
        best = best_of(trials)
        _write_trials(outputs["trials"], saved, trials)
        if best is None:
            raise UserError(
                f"none of the {len(trials)} trials came to an end, so none is the best; the last "
                f"one: {figures_of(trials[-1])['reason']}"
            )
        comment = _comment(tuning, size, saved, best, outputs["best"], simulated)
        variant = _variant(size, tuning.model_config.max_len)
        _write_best(outputs["best"], variant, saved.settings(best), comment)
    logger.info("best: %s; %s", _in_words(saved, best), outputs["best"])


def _run(tuning: TrainingRun, saved: SavedStudy, left: int, runtime: Runtime, threads: int) -> None:
    """Run the trials that are left, here or in several workers."""
    # More workers than trials would only start up.
    workers = min(saved.config.workers, left)
    if workers == 1:
        _work(1, tuning, saved, runtime, threads)
    elif workers > 1:
        each = max(1, threads // workers)
        logger.info("%d workers with %d threads each", workers, each)
        launch(workers, _work, workers, tuning, saved, runtime, each)


def _work(
    workers: int,
    tuning: TrainingRun,
    saved: SavedStudy,
    runtime: Runtime,
    threads: int,
) -> None:
    """Run trials until there are enough, as one of several workers."""
    # All would log the same lines on the machine.
    with only_errors(process_rank() > 0):
        machine = start_runtime(runtime, threads)
    if workers > 1:
        # They share the card, or the computer.
        machine = replace(machine, memory_gib=machine.memory() / 2**30 / workers)
    feature_map = FeatureMap.read(tuning.feature_map_json)
    with (
        H5Table(tuning.train_h5) as train,
        H5Table(tuning.valid_h5) as valid,
        saved.open() as study,
    ):
        check_one_draw(feature_map, train, valid)
        while (trial := saved.begin(study)) is not None:
            data, settings = (feature_map, train, valid), saved.settings(trial)
            state, figures = _run_trial(tuning, *data, trial, settings, machine)
            ended = saved.end(study, trial, state, figures)
            _log_trial(saved, saved.finished(study), ended, workers)


def _run_trial(
    tuning: TrainingRun,
    feature_map: FeatureMap,
    train: H5Table,
    valid: H5Table,
    trial: Trial,
    settings: Mapping[str, Any],
    machine: Machine,
) -> tuple[TrialState, dict[str, Any]]:
    """Train with `settings`; how that ended, with `_FIGURES` and, where pruned, the reason.

    The figures are those of the best evaluation, None where there was none.
    """
    started = time.monotonic()
    figures: dict[str, Any] = dict.fromkeys(_FIGURES)
    blocks, state = by_block(settings), COMPLETE
    try:
        model_config = replace(tuning.model_config, **blocks["model"])
        with torch.device("meta"):
            build_model(model_config, feature_map)
    except ValueError as error:
        figures |= {"reason": str(error), "epochs": 0, "steps": 0, "seconds": 0.0}
        return PRUNED, figures
    config = replace(tuning.train_config, **blocks["train"])
    run = replace(tuning, model_config=model_config, train_config=config)
    with only_errors():
        trainer = make_trainer(
            run,
            feature_map,
            make_sources(run, feature_map, train, valid, machine),
            machine,
            after_evaluation=functools.partial(_judge, trial),
            verbosity=0,
        )
        try:
            trainer.fit()
        except (optuna.TrialPruned, NotFiniteError, NotEnoughMemoryError) as error:
            state, figures["reason"] = PRUNED, str(error)
    if trainer.history:
        best = max(trainer.history, key=lambda evaluation: evaluation.monitor)
        figures |= {"value": best.monitor, "auc": best.auc, "logloss": best.logloss}
    figures["epochs"] = min(trainer.epoch, config.epochs)
    figures |= {"steps": trainer.step, "seconds": round(time.monotonic() - started, 2)}
    return state, figures


def _judge(trial: Trial, trainer: Trainer) -> None:
    """After an evaluation: end a training that is behind the others at as many rows."""
    trial.report(trainer.history[-1].monitor, trainer.rows_seen)
    is_last = trainer.rows_seen == trainer.config.epochs * trainer.train.rows_per_epoch
    if is_last or trainer.plateau.is_over or not trial.should_prune():
        return
    raise optuna.TrialPruned(
        f"below the median in epoch {trainer.epoch} of {trainer.config.epochs}"
    )


def _log_trial(
    saved: SavedStudy, finished: list[FrozenTrial], trial: FrozenTrial, workers: int
) -> None:
    """Log one line about a trial that has just ended."""
    figures, best = figures_of(trial), best_of(finished)
    value = figures["value"]
    text = trial.state.name.lower()
    text += "" if value is None else f", {value:.5f}"
    if best is not None and place_of(best) == place_of(trial):
        text += " (best so far)"
    elif best is not None:
        text += f" (best {figures_of(best)['value']:.5f} of trial {place_of(best) + 1})"
    if trial.state == PRUNED:
        text += f", {figures['reason']}"
    left = saved.trials - len(finished)
    mean = sum(figures_of(t)["seconds"] for t in finished) / len(finished)
    time_left = tqdm.format_interval(mean * left / workers)
    logger.info(
        "trial %d of %d: %s; %s; %s",
        place_of(trial) + 1,
        saved.trials,
        text,
        _short(saved.settings(trial)),
        f"{left} left, {time_left} to go" if left else "none left",
    )


def _in_words(saved: SavedStudy, trial: FrozenTrial) -> str:
    figures = figures_of(trial)
    return (
        f"trial {place_of(trial) + 1} of {saved.trials}, {figures['value']:.5f} (AUC "
        f"{figures['auc']:.5f}, logloss {figures['logloss']:.5f}) with "
        f"{_short(saved.settings(trial))}"
    )


def _short(settings: Mapping[str, Any]) -> str:
    """`dropout 0.1234, pooling mean`."""
    shown = {path: f"{v:.4g}" if isinstance(v, float) else v for path, v in settings.items()}
    return ", ".join(f"{path.split('.')[1]} {value}" for path, value in shown.items())


def _write_trials(path: Path, saved: SavedStudy, trials: list[FrozenTrial]) -> None:
    names = sorted(saved.config.space)
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["number", "state", *_FIGURES, *names])
        writer.writeheader()
        for trial in trials:
            row = {"number": place_of(trial) + 1, "state": trial.state.name.lower()}
            row |= {name: figures_of(trial)[name] for name in _FIGURES}
            writer.writerow(row | saved.settings(trial))


def _comment(
    tuning: TrainingRun,
    size: str,
    saved: SavedStudy,
    best: FrozenTrial,
    path: Path,
    simulated: bool,
) -> list[str]:
    """The comment above the best settings in their file."""
    max_len = tuning.model_config.max_len
    monitor = tuning.train_config.monitor.items()
    weights = " ".join(f"{weight:+g} {name}" for name, weight in monitor)
    figures = figures_of(best)
    text = (
        f"The best settings of {saved.trials} trials for size {size} and max_len {max_len}: trial "
        f"{place_of(best) + 1}, with {figures['value']:.5f} ({weights}) on the validation rows: "
        f"AUC {figures['auc']:.5f}, logloss {figures['logloss']:.5f}. The highest of many figures "
        f"on the same rows is a little too high. To train a model with them, with the config files "
        f"that this tuning had, and this one after them:"
    )
    lines = ["SIMULATED DATA: these settings know nothing of real clicks."] if simulated else []
    target = f"results/{size}/len{max_len}-{_variant(size, max_len)}/model.safetensors"
    lines += textwrap.wrap(text, 98)
    return [*lines, f"  snakemake --cores 4 {target} --configfile {path}"]


def _variant(size: str, max_len: int) -> str:
    """A name of its own for each tuning, since a config may hold the results of several."""
    return f"tuned_{size}_len{max_len}"


def _write_best(path: Path, variant: str, settings: Mapping[str, Any], comment: list[str]) -> None:
    blocks = {block: keys for block, keys in by_block(settings).items() if keys}
    content = yaml.safe_dump({"variants": {variant: blocks}}, sort_keys=False)
    with written_beside(path) as temporary:
        temporary.write_text("".join(f"# {line}\n" for line in comment) + content)
