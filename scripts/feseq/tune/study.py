"""The trials of a tuning in a SQLite file, which Optuna keeps: what to try next, and what came out.

An interrupted study goes on: finished trials count, and one that was running is repeated. Each
trial has its own place, from 0 on, and its place seeds its draws: with one worker, a study that was
interrupted ends like one that was not.
"""

import json
import logging
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from ..common.errors import UserError, first_line
from ..common.signals import undisturbed
from ..config.space import TuneConfig, is_integer_range

logger = logging.getLogger(__name__)

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED
# Waiting for the file's lock, which another worker may hold.
_TIMEOUT_SECONDS = 60


class SavedStudy:
    """The trials of one tuning, in `folder`.

    `key` stands for all that a trial's figures depend on: settings, space, data and code. Studies
    of other keys may lie in the same file; they are left alone.
    """

    def __init__(self, folder: Path, key: str, config: TuneConfig) -> None:
        self.folder = folder
        self.key = key
        self.config = config
        self.file = folder / "study.db"
        self._distributions = {
            path: _distribution(values) for path, values in sorted(config.space.items())
        }
        self._pruner = optuna.pruners.MedianPruner(config.startup_trials)

    def prepare(self) -> int:
        """Open or create the file; return how many trials are left. The folder's lock must be held.

        The log says whether a tuning goes on. A file that cannot be read is put aside.
        """
        _quieten_optuna()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.file.exists() and (damage := self._damage()):
            aside = self.file.with_suffix(".unreadable")
            os.replace(self.file, aside)
            logger.warning(
                "%s cannot be read (%s): tuning from the start; it is now %s",
                self.file,
                damage,
                aside.name,
            )
        with self.open() as study:
            names = optuna.get_all_study_names(study._storage)
            # Left by an interrupted process.
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
            done = len(self.finished(study))
        if done:
            logger.info("going on with a tuning: %d of %d trials are done", done, self.trials)
        elif len(names) > 1:
            logger.warning(
                "%s belongs to other settings, data or code: tuning from the start", self.file
            )
        return self.trials - done

    @property
    def trials(self) -> int:
        """How many trials there shall be."""
        return self.config.trials

    @contextmanager
    def open(self) -> Iterator[optuna.Study]:
        """The study; errors of its file become UserError."""
        _quieten_optuna()
        try:
            yield optuna.create_study(
                storage=self._storage(),
                study_name=self.key,
                direction="maximize",
                load_if_exists=True,
                pruner=self._pruner,
            )
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            cause = first_line(error.__cause__ or error)
            raise UserError(
                f"{self.file}: {cause}; fix that, or delete the file, and run the same command "
                f"again"
            ) from None

    @undisturbed()
    def begin(self, study: optuna.Study) -> Trial | None:
        """The next trial, with all its settings drawn; None if there are enough."""
        # Two workers must not take the same place.
        with FileLock(self.folder / "begin"):
            taken = {
                trial.user_attrs.get("place")
                for trial in study.get_trials(deepcopy=False)
                if trial.state != TrialState.FAIL
            }
            place = next((place for place in range(self.trials) if place not in taken), None)
            if place is None:
                return None
            # No file keeps the state of a sampler that has drawn before.
            seed = np.random.SeedSequence([self.config.seed, place]).generate_state(1)
            study.sampler = optuna.samplers.TPESampler(
                seed=int(seed[0]), n_startup_trials=self.config.startup_trials
            )
            trial = study.ask(self._distributions)
            trial.set_user_attr("place", place)
            return trial

    @undisturbed()
    def end(
        self, study: optuna.Study, trial: Trial, state: TrialState, figures: Mapping[str, Any]
    ) -> FrozenTrial:
        """Note how a trial ended; `figures` are plain values, the objective's by name `value`."""
        trial.set_user_attr("figures", dict(figures))
        return study.tell(trial, figures["value"] if state == COMPLETE else None, state)

    @undisturbed()
    def finished(self, study: optuna.Study) -> list[FrozenTrial]:
        """Finished trials by place, as many as there shall be at most."""
        found = study.get_trials(deepcopy=False, states=(COMPLETE, PRUNED))
        return sorted((t for t in found if place_of(t) < self.trials), key=place_of)

    def settings(self, trial: FrozenTrial | Trial) -> dict[str, Any]:
        """The settings that a trial drew, by their names in the space."""
        return {
            path: json.loads(value) if _is_choice(self.config.space, path) else value
            for path, value in sorted(trial.params.items())
        }

    def _storage(self) -> optuna.storages.RDBStorage:
        # A URI, since its path may hold any character.
        path = urllib.parse.quote(str(self.file.absolute()))
        return optuna.storages.RDBStorage(
            f"sqlite:///file:{path}?uri=true&timeout={_TIMEOUT_SECONDS}"
        )

    def _damage(self) -> str:
        """Why this Optuna cannot use the file; empty if it can."""
        try:
            connection = sqlite3.connect(self.file, timeout=_TIMEOUT_SECONDS)
            try:
                found = connection.execute("PRAGMA quick_check").fetchone()[0]
            finally:
                connection.close()
            if found == "ok":
                self._storage()
            return "" if found == "ok" else found
        except (sqlite3.OperationalError, OperationalError):
            # A folder without rights, a full disk: the file may be sound.
            return ""
        except (sqlite3.DatabaseError, SQLAlchemyError, RuntimeError) as error:
            return first_line(error)


def place_of(trial: FrozenTrial | Trial) -> int:
    """The place of a trial in its study, from 0 on."""
    return trial.user_attrs["place"]


def figures_of(trial: FrozenTrial) -> dict[str, Any]:
    """What was noted at the end of a finished trial."""
    return trial.user_attrs["figures"]


def best_of(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The first of the complete trials with the highest value; None if none is complete."""
    complete = [trial for trial in trials if trial.state == COMPLETE]
    return max(complete, key=lambda trial: figures_of(trial)["value"], default=None)


def _is_choice(space: Mapping[str, Any], path: str) -> bool:
    return not isinstance(space[path], Mapping)


def _distribution(values: Any) -> BaseDistribution:
    if not isinstance(values, Mapping):
        # As texts: Optuna takes no list as a choice, and 1 equals true.
        return CategoricalDistribution([json.dumps(value) for value in values])
    log, step = values.get("log", False), values.get("step")
    if is_integer_range(values):
        return IntDistribution(values["low"], values["high"], log, step or 1)
    return FloatDistribution(values["low"], values["high"], log, step)


def _quieten_optuna() -> None:
    """Send its warnings, and nothing else, through our log instead of its own handler."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
