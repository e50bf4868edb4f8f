"""The prediction of one part of the test table by FESeq."""

from collections.abc import Sequence
from pathlib import Path

from ..model.device import Machine
from .model_file import TrainedModel
from .part_file import write_part


def predict_part(
    model_file: Path,
    test_h5: Path,
    predictions: Path,
    *,
    machine: Machine,
    full_name: str = "",
    code: Sequence[str] = (),
    verbosity: int = 0,
) -> None:
    """Predict the rows of a part, as `write_part` writes them."""
    model = TrainedModel.load(model_file, full_name)
    source = model.source(test_h5, machine)
    source.encoder.warn_of_unseen(source.table.column("categorical"))
    logit = model.predict(source, machine, verbosity=verbosity)
    write_part(predictions, logit, source.table, model_file, model.marks(), code)
