"""The prediction of one shard of the test file by FESeq."""

from collections.abc import Sequence
from pathlib import Path

from ..machine.runtime import Machine
from .model_file import TrainedModel
from .shard_file import write_shard


def predict_shard(
    model_file: Path,
    test_h5: Path,
    predictions: Path,
    *,
    start: int,
    stop: int,
    machine: Machine,
    full_name: str = "",
    code: Sequence[str] = (),
    verbosity: int = 0,
) -> None:
    """Predict test rows start to stop, as `write_shard` writes them."""
    model = TrainedModel.load(model_file, full_name)
    source = model.source(test_h5, machine)
    source.encoder.warn_of_unseen(source.table.column("categorical", start, stop))
    logit = model.predict(source, machine, start=start, stop=stop, verbosity=verbosity)
    rows = (start, stop)
    write_shard(predictions, logit, source.table, rows, model_file, model.marks(), code)
