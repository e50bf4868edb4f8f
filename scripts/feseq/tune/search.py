"""Tuning: many trainings of one model with settings that Optuna draws; the best become a variant.

    tune_model ──▶ a study in a file ◀──▶ workers: draw settings, train, judge as it goes
         └──▶ trials.csv, best.yaml

Each family has a module here: `network.py`, `boosting.py`. With several workers the order in which
trials end, and so what the next ones draw, may differ from run to run. On a GPU all workers share
the card.
"""

import csv
import logging
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from ..common.errors import UserError
from ..common.files import written_beside
from ..config.names import MODEL_FILE
from ..config.runtime import Runtime
from ..config.space import TuneConfig, check_space, space_of
from ..train.checkpoint import locked
from ..train.launch import launch
from .study import PRUNED, SavedStudy, best_of, figures_of, place_of

logger = logging.getLogger(__name__)

# How a trial ended, with the figures of its best moment by name, and where pruned the reason.
Ended = tuple[TrialState, dict[str, Any]]
# Runs a trial with the settings that it drew.
Run = Callable[[Trial, Mapping[str, Any]], Ended]


class About(NamedTuple):
    """A digest of all that the trials depend on, and whether their rows are simulated."""

    key: str
    simulated: bool


class Tuned(Protocol):
    """The model whose settings are searched. It goes to other processes.

    `figures` are those of a trial beside value, auc, logloss and seconds; `blocks` of the config
    are those of such models; trials are compared by the `monitor`, figures with their weights.
    """

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of figures."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of blocks."""

    @property
    def model(self) -> str:
        """Its name, such as len150."""

    @property
    def monitor(self) -> Mapping[Any, float]:
        """What trials are compared by: a sum of figures, each with its weight."""

    def about(self, *settings: Any) -> About:
        """What trials depend on, with further plain values."""

    def best(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The variant with the settings found, by block."""

    def runner(self, runtime: Runtime, threads: int, workers: int, stack: ExitStack) -> Run:
        """What a worker, one of so many, runs its trials by; the stack is closed behind these."""


def tune_model(
    tuned: Tuned,
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
    space = space_of(tune_config.space, tuned.blocks)
    check_space(space)
    tune_config = tune_config.model_copy(update={"space": space})
    seeded = {"space": space, "seed": tune_config.seed}
    about = tuned.about(seeded, tune_config.startup_trials, list(code))
    if about.simulated:
        logger.warning("tuning on SIMULATED data: its best settings know nothing of real clicks")
    saved = SavedStudy(outputs["best"].parent / "study", about.key, tune_config)
    with locked(saved.folder, "is tuning this model already"):
        _run(tuned, saved, saved.prepare(), runtime, threads)
        with saved.open() as study:
            trials = saved.finished(study)
        best = best_of(trials)
        _write_trials(outputs["trials"], _figures(tuned), saved, trials)
        if best is None:
            raise UserError(
                f"none of the {len(trials)} trials came to an end, so none is the best; the last "
                f"one: {figures_of(trials[-1])['reason']}"
            )
        # A name of its own for each tuning, since a config may hold the results of several.
        variant = f"tuned_{size}_{tuned.model.replace('-', '_')}"
        comment = _comment(tuned, (size, variant), saved, best, outputs["best"], about.simulated)
        _write_best(outputs["best"], variant, tuned.best(saved.settings(best)), comment)
    logger.info("best: %s; %s", _in_words(saved, best), outputs["best"])


def _run(tuned: Tuned, saved: SavedStudy, left: int, runtime: Runtime, threads: int) -> None:
    """Run the trials that are left, here or in several workers."""
    # More workers than trials would only start up.
    workers = min(saved.config.workers, left)
    if workers == 1:
        _work(1, tuned, saved, runtime, threads)
    elif workers > 1:
        each = max(1, threads // workers)
        logger.info("%d workers with %d threads each", workers, each)
        launch(workers, _work, workers, tuned, saved, runtime, each)


def _work(workers: int, tuned: Tuned, saved: SavedStudy, runtime: Runtime, threads: int) -> None:
    """Run trials until there are enough, as one of several workers."""
    with ExitStack() as stack, saved.open() as study:
        run_trial = tuned.runner(runtime, threads, workers, stack)
        while (trial := saved.begin(study)) is not None:
            state, found = run_trial(trial, saved.settings(trial))
            figures = dict.fromkeys(_figures(tuned)) | found
            ended = saved.end(study, trial, state, figures)
            _log_trial(saved, saved.finished(study), ended, workers)


def _figures(tuned: Tuned) -> list[str]:
    return ["value", "auc", "logloss", *tuned.figures, "seconds"]


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


def _write_trials(
    path: Path, figures: Sequence[str], saved: SavedStudy, trials: list[FrozenTrial]
) -> None:
    names = sorted(saved.config.space)
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["number", "state", *figures, *names])
        writer.writeheader()
        for trial in trials:
            row = {"number": place_of(trial) + 1, "state": trial.state.name.lower()}
            row |= {name: figures_of(trial)[name] for name in figures}
            writer.writerow(row | saved.settings(trial))


def _comment(
    tuned: Tuned,
    names: tuple[str, str],
    saved: SavedStudy,
    best: FrozenTrial,
    path: Path,
    simulated: bool,
) -> list[str]:
    """The comment above the best settings in their file; `names` are size and variant."""
    size, variant = names
    weights = " ".join(f"{weight:+g} {name}" for name, weight in tuned.monitor.items())
    figures = figures_of(best)
    text = (
        f"The best settings of {saved.trials} trials for {tuned.model} on size {size}: trial "
        f"{place_of(best) + 1}, with {figures['value']:.5f} ({weights}) on the validation rows: "
        f"AUC {figures['auc']:.5f}, logloss {figures['logloss']:.5f}. The highest of many figures "
        f"on the same rows is a little too high. To train a model with them, with the config files "
        f"that this tuning had, and this one after them:"
    )
    lines = ["SIMULATED DATA: these settings know nothing of real clicks."] if simulated else []
    name = f"{tuned.model.partition('-')[0]}-{variant}"
    target = f"results/{size}/{name}/{MODEL_FILE}"
    lines += textwrap.wrap(text, 98)
    return [*lines, f"  snakemake --cores 4 {target} --configfile {path}"]


def _write_best(
    path: Path, variant: str, blocks: Mapping[str, Any], comment: Sequence[str]
) -> None:
    content = yaml.safe_dump({"variants": {variant: blocks}}, sort_keys=False)
    with written_beside(path) as temporary:
        temporary.write_text("".join(f"# {line}\n" for line in comment) + content)
