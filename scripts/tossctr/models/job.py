"""The inputs and outputs of a training, the same in every kind of model."""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..common.errors import UserError
from ..common.files import Output, atomic_write, read_json, write_json
from ..common.machine import peak_memory
from ..config.declared import DEFAULT_RUNTIME, Runtime
from ..config.names import Settings
from ..datasets.opening import AllRows, Files, open_table
from ..datasets.table import Table, monitored_rows
from ..features.feature_map import FeatureMap, check_same_draw
from .trained import Model, ModelInfo

# A feature map, the train rows, and the validation rows to choose by (None in a refit).
Opened = tuple[FeatureMap, Table, Table | None]


@contextmanager
def open_rows(
    train: Files, valid: Files, feature_map: Path, full_name: str = "", *, is_refit: bool = False
) -> Iterator[Opened]:
    """The feature map and the rows of a training; a refit learns from the validation rows, too.

    Raises UserError unless all come from one draw, made for the size in `full_name`.
    """
    fields = FeatureMap.read(feature_map)
    rows = AllRows(train, valid) if is_refit else train
    with open_table(rows) as learned, nullcontext() if is_refit else open_table(valid) as choosing:
        check_same_draw(fields, learned, learned if choosing is None else choosing, full_name)
        yield fields, learned, None if choosing is None else monitored_rows(choosing)


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """The training of one model.

    `train`, `valid` and `feature_map` are the files of the train rows, the validation rows and the
    feature map. `settings` are by block. `model`, `history` (CSV) and `training` (JSON) are the
    files to write. If `refit_of`, the training.json of a first training, is given, the model is
    refitted: it also learns from the validation rows, and keeps the choices of the first training,
    whose model is the file `first_model`. The model's file keeps `id_column`. `code` is a digest of
    the running code, by which saved states of other versions are recognized.
    """

    train: Files
    valid: Files
    feature_map: Path
    settings: Settings
    model: Output
    history: Output
    training: Output
    refit_of: Path | None = None
    first_model: Path | None = None
    full_name: str
    id_column: str = ""
    runtime: Runtime = DEFAULT_RUNTIME
    threads: Annotated[int, Field(ge=1, le=1_000)] = 1
    code: str = ""
    started: float = field(default_factory=time.monotonic, init=False, compare=False)

    def before(self) -> dict[str, Any]:
        """In a refit, the training.json of the first training; otherwise {}.

        Raises UserError if the file is not one.
        """
        if self.refit_of is None:
            return {}
        keys = ("refit", "settings", "seconds")
        return read_json(self.refit_of, kind="training.json", keys=keys)

    def opened(self) -> AbstractContextManager[Opened]:
        """The job's files, opened by `open_rows`."""
        files = (self.train, self.valid, self.feature_map, self.full_name)
        return open_rows(*files, is_refit=self.refit_of is not None)

    def about(self, feature_map: FeatureMap, train: Table) -> ModelInfo:
        """The training's facts, for the model; raises UserError if no rows, or all, are clicks."""
        click_rate = float(train.column("label").mean())
        if click_rate in (0, 1):
            raise UserError(
                f"{train.path}: label {click_rate:.0f} in all of its {train.rows:,} rows, from "
                f"which nothing can be learned; raise sizes.<size>.rows"
            )
        simulated = train.source["simulated"]
        names = self.full_name, self.id_column
        return ModelInfo(self.settings, feature_map, simulated, click_rate, *names)

    def write(self, model: Model, history: Sequence[Mapping[str, Any]] = (), **facts: Any) -> None:
        """Write `history` (a mapping per line), `facts` with the common ones, and the model."""
        with atomic_write(self.history) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else [])
            writer.writeheader()
            writer.writerows(history)
        shared = {
            "refit": self.refit_of is not None,
            "seconds": round(time.monotonic() - self.started, 3),
            "peak_memory_bytes": peak_memory(),
            "device": "cpu",
            "simulated_data": model.about.simulated,
            "click_rate": model.about.click_rate,
            "settings": {
                key: value for keys in self.settings.values() for key, value in keys.items()
            },
        }
        write_json(self.training, shared | facts)
        model.save(self.model)
