"""The search for better settings of a model: Optuna draws settings, the model kind trains.

    tune ──▶ study.db (Optuna's) ◀──▶ trials: draw settings, train, report metrics
      └──▶ trials.csv, best.yaml

An interrupted search resumes: finished trials count, and the interrupted trial is repeated.
"""

import csv
import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.trial import FrozenTrial, Trial, TrialState

from .catalog.model_kinds import kind_of
from .catalog.schema import TuneConfig, allows_fractions, nest_by_block, space_of
from .common.errors import ImpossibleNetworkError, NotEnoughMemoryError, NotFiniteError, UserError
from .common.files import Output, atomic_write, folder_lock
from .config.declared import Runtime
from .config.names import Settings
from .models.job import open_rows

logger = logging.getLogger(__name__)

# The number of first trials, whose settings are drawn at random and which are not pruned.
RANDOM_TRIALS = 8
SEED = 42  # of the samplers
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

# Reports a trial's value so far, at a step (percent of an epoch, or trees times learning rate).
# Raises optuna.TrialPruned to end the trial.
Report = Callable[[float, int], None]
# Trains a model with given settings; a model kind's `trial_runner` yields this function. It returns
# the metrics of the best evaluation; `value` is what the search maximizes. It raises
# ImpossibleNetworkError, NotEnoughMemoryError or NotFiniteError if the settings do not work.
RunTrial = Callable[[Settings, Report], dict[str, Any]]


def tune_model(
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    settings: Settings,
    best: Output,
    trials: Output,
    *,
    model: str,
    variant: Mapping[str, Any],
    size: str,
    tuning: TuneConfig,
    runtime: Runtime,
    threads: int,
    code: str = "",
) -> None:
    """Search for better settings of a model; write all trials (CSV), then the best settings (YAML).

    `settings` are all settings of the model by block of the config, `variant` those of the variant
    in the model's name. `code` is a digest of the code. An interrupted search resumes from the
    folder `study` beside `best`, if settings, search space, data and code are the same. Raises
    UserError if the search space has no setting of this model, or if no trial completes.
    """
    space = space_of(tuning.space, settings)
    if not space:
        raise UserError(f"the search space, tuning.space, has no setting of {model}; add one")
    folder = best.parent / "study"
    # The feature map identifies the rows.
    values = [settings, space, hashlib.sha256(feature_map.read_bytes()).hexdigest(), code]
    key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    trial_runner = kind_of(model).entry_point("trial_runner")  # its context is a RunTrial
    with (
        folder_lock(folder, "is tuning this model already"),
        open_rows(train, valid, feature_map) as rows,
        trial_runner(rows, folder, runtime, threads) as run,
    ):
        finished = _search(run, folder / "study.db", key, settings, space, tuning.trials)
    _write_trials(trials, finished)
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    if not complete:
        raise UserError(
            f"none of {len(finished)} trials completed; change the search space, tuning.space. The "
            f"last trial ended with: {finished[-1].user_attrs.get('reason')}"
        )
    winner = max(complete, key=lambda trial: trial.value or 0)
    _write_best(best, winner, f"{size}/{model}", variant)
    logger.info("best: %s, objective %.5f; see %s", _drawn_settings(winner), winner.value, best)


def _search(
    run: RunTrial, file: Path, key: str, settings: Settings, space: Mapping[str, Any], trials: int
) -> list[FrozenTrial]:
    """Run the remaining trials; return all finished trials, in order."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    study = optuna.create_study(
        storage=f"sqlite:///{file}",
        study_name=key,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(RANDOM_TRIALS),
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # from a killed process
    while len(finished := study.get_trials(states=_FINISHED)) < trials:
        # Each trial has its own sampler, since the study does not store a sampler's state.
        (seed,) = np.random.SeedSequence([SEED, len(finished)]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(seed), n_startup_trials=RANDOM_TRIALS)
        study.optimize(lambda trial: run_trial(run, trial, settings, space), n_trials=1)
    return finished[:trials]


def run_trial(run: RunTrial, trial: Trial, settings: Settings, space: Mapping[str, Any]) -> float:
    """Train a model with settings drawn from `space`; return the value that the search maximizes.

    Raises TrialPruned if the trial falls below the median, or if the settings do not work.
    """
    drawn = nest_by_block(
        {path: _draw(trial, path, values) for path, values in sorted(space.items())}
    )

    def report(value: float, step: int) -> None:
        trial.report(value, step)
        if trial.should_prune():
            trial.set_user_attr("reason", f"below the median of the trials at step {step}")
            raise optuna.TrialPruned("Below the median.")

    try:
        metrics = run({block: {**keys, **drawn[block]} for block, keys in settings.items()}, report)
    except (ImpossibleNetworkError, NotEnoughMemoryError, NotFiniteError) as error:
        trial.set_user_attr("reason", str(error))
        raise optuna.TrialPruned(str(error)) from None
    value = metrics.pop("value")
    for name, metric in metrics.items():
        trial.set_user_attr(name, metric)
    return value


def _draw(trial: Trial, path: str, values: Any) -> Any:
    if isinstance(values, Mapping):
        suggest: Any = trial.suggest_float if allows_fractions(path, values) else trial.suggest_int
        return suggest(path, **{k: bound for k, bound in values.items() if bound is not None})
    # Choices are JSON texts: Optuna takes no lists, and confuses 1 with true.
    return json.loads(trial.suggest_categorical(path, [json.dumps(value) for value in values]))


def _drawn_settings(trial: FrozenTrial) -> dict[str, Any]:
    """The settings drawn for a trial, by dotted name."""
    return {
        path: json.loads(value) if isinstance(value, str) else value
        for path, value in sorted(trial.params.items())
    }


def _write_best(
    path: Path, winner: FrozenTrial, full_name: str, variant: Mapping[str, Any]
) -> None:
    """Write a trial's settings as a variant, with its metrics as a comment."""
    metrics = ", ".join(f"{metric} {value:.5f}" for metric, value in winner.user_attrs.items())
    blocks = {
        block: {**variant.get(block, {}), **keys}
        for block, keys in nest_by_block(_drawn_settings(winner)).items()
        if keys or block in variant
    }
    content = {"variants": {re.sub("[^a-z0-9_]", "_", f"tuned_{full_name}"): blocks}}
    with atomic_write(path) as temporary:
        temporary.write_text(
            f"# The best settings of a search for {full_name}, chosen by the validation rows:\n"
            f"# value {winner.value:.5f}, {metrics} on these rows.\n"
            f"{yaml.safe_dump(content, sort_keys=False)}"
        )


def _write_trials(path: Path, trials: list[FrozenTrial]) -> None:
    rows = [
        {
            "number": number,
            "state": trial.state.name.lower(),
            "value": trial.value,
            "seconds": trial.duration.total_seconds() if trial.duration else None,
            "reason": "",
            **trial.user_attrs,
            **_drawn_settings(trial),
        }
        for number, trial in enumerate(trials, 1)
    ]
    with atomic_write(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row))
        writer.writeheader()
        writer.writerows(rows)
