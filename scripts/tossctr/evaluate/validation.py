"""A model's predictions of the validation rows, on which it is measured."""

from pathlib import Path

from ..catalog.loading import load_model
from ..common.files import Output
from ..config.declared import DEFAULT_RUNTIME, Runtime
from ..datasets.opening import open_table
from ..features.feature_map import check_one_draw
from ..predict.part import model_metadata
from .valid_predictions import write_logits


def predict_validation(
    model: Path,
    valid: list[Path],
    predictions: Output,
    *,
    full_name: str = "",
    runtime: Runtime = DEFAULT_RUNTIME,
    threads: int = 1,
) -> None:
    """Write a model's predictions of the validation rows, with their histories and empty ones."""
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    with open_table(valid) as table:
        check_one_draw(loaded.about.feature_map, table, table, full_name, model)
        ablated = logit = loaded.predict(table)
        if table.sequence_columns:
            ablated = loaded.predict(table, ablate_histories=True)
        logits = {"logit": logit, "logit_ablated": ablated}
        write_logits(predictions, table, logits, model_metadata(loaded))
