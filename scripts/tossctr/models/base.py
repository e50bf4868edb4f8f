"""The interface by which Snakemake's rules and scripts use a model kind."""

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
    """A kind of model, such as boosting: its settings, and the functions that jobs call.

    The module `models/<name>/<name>.py` assigns the model kind to KIND. All rules of the workflow
    import this module, so it imports only what settings need. Jobs call the functions below, the
    entry points of the model kind. They are in other modules of the same folder:

        train(job)       trains a model; see `models.job.TrainJob`
        load             loads a model from its file, to predict; see `models.trained.Model`
        trial_runner     trains models with drawn settings, for a search; see `tuning.RunTrial`
        export           writes a model as ONNX
    """

    package: str
    # A regular expression for the start of the models' names.
    pattern: str
    # The conda environment of all jobs except tuning: envs/{environment}.yaml.
    environment: str
    # The class of the settings of each block of the config.
    blocks: Mapping[str, Any]
    # The module of each entry point, in the model kind's folder.
    entry_points: Mapping[str, str]
    # True if trainings write a row to history.csv for each evaluation.
    has_learning_curves: bool = False
    # GPUs of a job that predicts.
    inference_gpus: int = 0

    @property
    def name(self) -> str:
        """The name of the model kind and of its folder."""
        return self.package.rpartition(".")[2]

    def settings(self, config: Mapping[str, Any], size: str, model: str) -> Settings:
        """The settings of a model, as a mapping for each block of the config, such as `train`.

        A model's name, such as len150-mine, may end with a variant. Raises UserError if the config
        lacks the size or the variant, or if the variant sets nothing for this kind of model.
        """
        variant, blocks = variant_of(model), " or ".join(self.blocks)
        if variant and variant not in config["variants"]:
            variants = ", ".join(config["variants"]) or "none"
            raise UserError(f"{model}: no variant {variant!r} in the config; variants: {variants}")
        if variant and not any(config["variants"][variant].get(block) for block in self.blocks):
            raise UserError(
                f"{model}: the variant {variant} has no setting of {blocks}; add one, or use "
                f"{model.partition('-')[0]}"
            )
        return {block: block_settings(config, size, block, variant) for block in self.blocks}

    def check(self, config: Mapping[str, Any], columns: Columns, size: str, model: str) -> None:
        """Raise UserError if the model's settings are wrong, or do not fit a table's `columns`."""
        self.settings(config, size, model)

    def gpus(self, config: Mapping[str, Any], size: str, model: str) -> int:
        """The number of GPUs that train the model."""
        return 0

    def module_of(self, entry_point: str) -> str:
        """The dotted name of the entry point's module; raises UserError if there is none."""
        if entry_point not in self.entry_points:
            raise UserError(
                f"the model kind {self.name} has no function {entry_point!r} "
                f"(docs/own-model.md); docs/serving.md shows how to serve its models without ONNX"
            )
        return f"{self.package}.{self.entry_points[entry_point]}"

    def entry_point(self, name: str) -> Any:
        """The entry point with this name, such as `train`; raises UserError if there is none."""
        return getattr(import_module(self.module_of(name)), name)


def training_state(model: Path) -> Path:
    """The folder `training_state` beside a model file: a lock, and the training's saved state."""
    return model.with_name("training_state")


def training_lock(model: Path) -> AbstractContextManager[None]:
    """A context that locks a model file; raises UserError if another process trains the model."""
    return folder_lock(training_state(model), "is training this model already")


def refuse_models_in_training(models: Iterable[Path]) -> None:
    """Raise UserError if a process of an earlier Snakemake run still trains one of the models."""
    for model in models:
        if training_state(model).exists():
            with training_lock(model):
                pass


def remove_training_states(results: Path) -> None:
    """Remove the folder `training_state` beside each model file in the folder `results`."""
    for depth in ("*/*", "*/*/*"):
        for model in results.glob(f"{depth}/{MODEL_FILE}"):
            shutil.rmtree(training_state(model), ignore_errors=True)


def size_settings(config: Mapping[str, Any], size: str) -> dict[str, Any]:
    """The config's entry `sizes.<size>`; raises UserError if there is none."""
    if size not in config["sizes"]:
        raise UserError(f"no size {size!r} in the config; sizes: {', '.join(config['sizes'])}")
    return config["sizes"][size]


def block_settings(
    config: Mapping[str, Any], size: str, block: str, variant: str | None = None
) -> dict[str, Any]:
    """The settings of a block of the config, such as `train`, for a size and a variant.

    The variant (None: no variant) overrides `sizes.<size>`, which overrides settings of all sizes.
    """
    changes = config["variants"][variant] if variant else {}
    size_changes = size_settings(config, size).get(block, {})
    return config.get(block, {}) | size_changes | changes.get(block, {})
