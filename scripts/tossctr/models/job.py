"""The inputs and outputs of a training, for all model kinds."""

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
from ..datasets.opening import Files, TrainAndValidation, open_table
from ..datasets.table import Table, monitored_rows
from ..features.feature_map import FeatureMap, check_same_draw
from .trained import Model, ModelInfo

# The feature map, the train rows, and the validation rows (None in a refit).
OpenRows = tuple[FeatureMap, Table, Table | None]


@contextmanager
def open_rows(
    train: Files, valid: Files, feature_map: Path, full_name: str = "", *, is_refit: bool = False
) -> Iterator[OpenRows]:
    """Open the feature map, the train rows and the validation rows of a training.

    A refit trains on all these rows: the first table has them, the second is None. Raises UserError
    if the files come from different draws of rows, or if their size is not the one in `full_name`,
    such as full/len150 ('': any).
    """
    fields = FeatureMap.read(feature_map)
    rows = TrainAndValidation(train, valid) if is_refit else train
    with open_table(rows) as table, nullcontext() if is_refit else open_table(valid) as valid_table:
        check_same_draw(fields, table, table if valid_table is None else valid_table, full_name)
        yield fields, table, None if valid_table is None else monitored_rows(valid_table)


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """The files and settings of the training of one model.

    A refit is a second training, on train and validation rows. It keeps what the first training
    chose, such as the number of trees.

    settings: by block of the config, such as `train`
    model, history, training: outputs: the model file, history.csv and training.json
    refit_of, first_model: for a refit, training.json and model of the first training; else None
    full_name: the model's size and name, such as full/len150
    id_column: name of the table's ID column, which the model file stores; '' without one
    code: digest of the code; a saved state is ignored if the digest has changed
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

    def first_training(self) -> dict[str, Any]:
        """For a refit, the training.json of the first training; else {}.

        Raises UserError if the file `refit_of` is not a training.json.
        """
        if self.refit_of is None:
            return {}
        keys = ("refit", "settings", "seconds")
        return read_json(self.refit_of, kind="training.json", keys=keys)

    def open_rows(self) -> AbstractContextManager[OpenRows]:
        """Open the feature map, the train rows, and the validation rows (None in a refit)."""
        files = (self.train, self.valid, self.feature_map, self.full_name)
        return open_rows(*files, is_refit=self.refit_of is not None)

    def model_info(self, feature_map: FeatureMap, train: Table) -> ModelInfo:
        """What a model file stores about the training; raises UserError if all labels are equal."""
        click_rate = float(train.column("label").mean())
        if click_rate in (0, 1):
            raise UserError(
                f"{train.path}: the label is {click_rate:.0f} in all rows ({train.rows:,}), so a "
                f"model cannot learn; raise the setting sizes.<size>.rows"
            )
        facts = train.source["simulated"], click_rate, self.full_name, self.id_column
        return ModelInfo(self.settings, feature_map, *facts)

    def write(self, model: Model, history: Sequence[Mapping[str, Any]] = (), **facts: Any) -> None:
        """Write history.csv, then training.json, then the model file.

        Each mapping in `history` is a line of history.csv. `facts` are added to training.json.
        """
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
            "settings": {key: v for keys in self.settings.values() for key, v in keys.items()},
        }
        write_json(self.training, shared | facts)
        model.save(self.model)
