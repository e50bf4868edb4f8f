"""How long the trainings of a workflow may take, for the messages of its rules."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..common.cuda import has_cuda_device
from ..config.columns import Columns
from ..config.names import MODEL_FILE, REFIT
from ..config.sizes import size_block
from ..family.base import Work
from ..family.expected_time import (
    GUESSED_CLICK_RATE,
    Expected,
    expected_time,
    known_facts,
    time_text,
)
from ..raw.source import RawFiles
from .families import family_of
from .models import model_settings, submission_models

# Cores of a job.
_CORES = 8
# Size and name of a model, and whether its training is a refit.
Training = tuple[str, str, bool]


class TrainingTimes:
    """The expected times of trainings with this config, of these raw files.

    `train_rows` is the number of rows of the train table, None if it is not known. In methods,
    `results` is the folder of results, and `cores` are those of this machine that the run may use,
    None if jobs run elsewhere.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        raw: RawFiles,
        columns: Columns,
        train_rows: int | None,
        has_conda: bool,
    ) -> None:
        self.config, self.columns, self.has_conda = config, columns, has_conda
        # What is known of the stand-in before it is there.
        self.simulation = config["table"]["simulation"] if raw.simulated else None
        self.train_rows = self.simulation["train_rows"] if self.simulation else train_rows

    def message(self, results: Path, training: Training, cores: int | None) -> str:
        """How many rows a training reads, and how long it may take."""
        rows = self._rows(training[0])
        time = self.text(results, [training], cores)
        return ", ".join(filter(None, [f"{rows:,} rows" if rows else "all rows", time]))

    def text(self, results: Path, trainings: Iterable[Training], cores: int | None) -> str:
        """The time of trainings, one after the other; '' if that of one is not known."""
        return time_text(self._expected(results, *training, cores) for training in trainings)

    def missing(self, results: Path, size: str, cores: int | None) -> str:
        """The time of the trainings that the submission of a size lacks; '' without any."""
        fits = {False: MODEL_FILE}
        if self.config["submission"]["refit"]:
            fits[True] = f"{REFIT}/{MODEL_FILE}"
        trainings = [
            (size, model, is_refit)
            for model in submission_models(self.config, size)
            for is_refit, file in fits.items()
            if not (results / size / model / file).exists()
        ]
        return self.text(results, trainings, cores)

    def _rows(self, size: str) -> int | None:
        """How many rows of the train table a size has; None if that is not known."""
        rows = (size_block(self.config, size)["rows"], self.train_rows)
        return min(filter(None, rows), default=None)

    def _expected(
        self, results: Path, size: str, model: str, is_refit: bool, cores: int | None
    ) -> Expected | None:
        rows = self._rows(size)
        if rows is None:
            return None
        family, settings = family_of(model), model_settings(self.config, size, model)
        held_out = round(rows * self.config["sampling"]["valid_share"])
        click_rate, length = known_facts(results)
        work = Work(
            rows if is_refit else rows - held_out,
            held_out,
            self.columns,
            _CORES if cores is None else min(_CORES, cores),
            click_rate or GUESSED_CLICK_RATE,
            self.simulation["mean_length"] if self.simulation else length,
            is_refit,
        )
        _, gpus = family.layout(self.config, size, model, self.has_conda)
        may_use_gpu = gpus and self.config["runtime"]["device"] != "cpu"
        device = "cuda" if may_use_gpu and (cores is None or has_cuda_device()) else "cpu"
        return expected_time(results, model, family, settings, work, device)
