"""Train, load and export a model of any kind."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..common import tensors
from ..common.files import Output
from ..config.declared import DEFAULT_RUNTIME, Runtime
from ..models.base import ModelKind
from ..models.trained import Model, damaged_model_error
from .model_kinds import MODEL_KINDS, kind_of

if TYPE_CHECKING:
    from ..models.job import TrainJob


def train_model(job: "TrainJob") -> None:
    """Train the model that `job` describes; the kind of model follows from its name."""
    kind_of(Path(job.full_name).name).entry_point("train")(job)


def kind_of_file(path: Path) -> ModelKind:
    """The kind of the model in a file; raises UserError if the file is not a model."""
    try:
        return MODEL_KINDS[tensors.peek(path, "marks")["kind"]]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged_model_error(path, error) from None


def load_model(
    path: Path | str, full_name: str = "", *, runtime: Runtime = DEFAULT_RUNTIME, threads: int = 1
) -> Model:
    """Load a model from its file, ready to predict on this machine.

    Raises UserError if the file is not a model, or if the model's name is not `full_name`, such as
    full/len150 ('': any name).
    """
    path = Path(path)
    load = kind_of_file(path).entry_point("load")
    return load(path, full_name, runtime, threads)


def export_model(model: Path, valid: list[Path], onnx: Output, *, full_name: str = "") -> None:
    """Write a model in ONNX format, and check that it gives the same logits for rows of `valid`.

    Raises UserError if the logits differ, or if the model's name is not `full_name` ('': any).
    """
    kind_of_file(model).entry_point("export")(model, valid, onnx, full_name=full_name)
