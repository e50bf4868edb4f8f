"""The interface of a kind of model to rules and scripts."""

import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..common.files import folder_lock
from ..config.columns import Columns
from ..config.names import MODEL_FILE, Settings, variant_of


@dataclass(frozen=True)
class ModelKind:
    """The module named like a kind's folder defines KIND, of this class or a subclass.

    Rules import that module, so it imports only what settings need. Jobs call the entry points,
    functions in other modules of the folder, which are imported when the job runs:

        train(job)       trains a model; see `models.job.TrainJob`
        load             loads a model from its file, to predict; see `models.trained.Model`
        trials           trains models with the settings that `tune` tries
        export           writes a model as ONNX
    """

    # `__package__` of that module.
    package: str
    # A regular expression for the start of its models' names.
    pattern: str
    # The conda environment of its jobs, except for tuning: envs/{environment}.yaml.
    environment: str
    # The kind's blocks of the config, each with the class of its settings.
    blocks: Mapping[str, Any]
    # The module of each entry point, in the kind's folder.
    entry_points: Mapping[str, str]
    # Whether its trainings write a row to history.csv for each evaluation.
    has_learning_curves: bool = False
    # GPUs of a job that predicts.
    inference_gpus: int = 0

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.package.rpartition(".")[2]

    def settings(self, config: Mapping[str, Any], size: str, model: str) -> Settings:
        """The settings of a model; raises UserError if the config has no such model."""
        variant, blocks = variant_of(model), " or ".join(self.blocks)
        if variant and variant not in config["variants"]:
            known = ", ".join(map(repr, config["variants"]))
            raise UserError(f"{model}: the config has no variant {variant!r}, only {known}")
        if variant and not any(config["variants"][variant].get(block) for block in self.blocks):
            raise UserError(
                f"{model}: variants.{variant} has no settings of {blocks}, so this would be the "
                f"same model as {model.partition('-')[0]}; add a block, or use that model"
            )
        return {block: block_settings(config, size, block, variant) for block in self.blocks}

    def check(self, config: Mapping[str, Any], columns: Columns, size: str, model: str) -> None:
        """Raise UserError if a model cannot be trained on a table of these columns."""
        self.settings(config, size, model)

    def gpus(self, config: Mapping[str, Any], size: str, model: str) -> int:
        """GPUs that train a model."""
        return 0

    def module(self, entry_point: str) -> str:
        """The full name of an entry point's module; raises UserError if the kind has none."""
        if entry_point not in self.entry_points:
            raise UserError(
                f"a model of the kind {self.name} has no {entry_point!r}; use another model "
                f"(docs/serving.md, docs/own-model.md)"
            )
        return f"{self.package}.{self.entry_points[entry_point]}"

    def entry_point(self, name: str) -> Any:
        """The function of that name; raises UserError if the kind has none."""
        return getattr(import_module(self.module(name)), name)


def training_state(model: Path) -> Path:
    """The folder beside a model's file with the state and the lock of its training."""
    return model.with_name("training_state")


def training_lock(model: Path) -> AbstractContextManager[None]:
    """Keep other processes from training a model; raises UserError if one does."""
    return folder_lock(training_state(model), "is training this model already")


def refuse_second_training(models: Iterable[Path]) -> None:
    """Raise UserError if a process that outlived its Snakemake still trains one of the models."""
    for model in models:
        if training_state(model).exists():
            with training_lock(model):
                pass


def remove_training_states(results: Path) -> None:
    """Remove the training states of finished models."""
    for depth in ("*/*", "*/*/*"):
        for model in results.glob(f"{depth}/{MODEL_FILE}"):
            shutil.rmtree(training_state(model), ignore_errors=True)


def size_block(config: Mapping[str, Any], size: str) -> dict[str, Any]:
    """The config's block of a size; raises UserError if there is none."""
    if size not in config["sizes"]:
        known = ", ".join(map(repr, config["sizes"]))
        raise UserError(f"there is no size {size!r}; sizes are {known}")
    return config["sizes"][size]


def block_settings(
    config: Mapping[str, Any], size: str, block: str, variant: str | None = None
) -> dict[str, Any]:
    """One block's settings: a size's override the shared ones, a variant's override both."""
    changes = config["variants"][variant] if variant else {}
    size_settings = size_block(config, size)
    return config.get(block, {}) | size_settings.get(block, {}) | changes.get(block, {})
