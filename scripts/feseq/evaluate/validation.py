"""A model's predictions of the validation rows, by which it is measured."""

import time
from pathlib import Path

from ..catalog.loading import load_model
from ..common.files import Output, write_json
from ..config.runtime import Runtime
from ..features.feature_map import check_one_draw
from ..predict.part import model_metadata
from ..storage.opening import open_table
from .valid_predictions import write_logits


def predict_validation(
    model: Path,
    valid: list[Path],
    predictions: Output,
    speed: Output,
    *,
    full_name: str = "",
    runtime: Runtime | None = None,
    threads: int = 1,
) -> None:
    """Write a model's predictions of rows it did not see, and their speed.

    The rows are predicted with their histories and with empty ones. `speed` (JSON): rows, seconds,
    samples_per_second.
    """
    runtime = runtime or Runtime()
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    with open_table(valid) as table:
        check_one_draw(loaded.about.feature_map, table, table, full_name, model)
        started = time.perf_counter()
        logits = {"logit": loaded.predict(table, verbosity=runtime.verbosity)}
        seconds = time.perf_counter() - started
        rate = table.rows / seconds
        write_json(speed, {"rows": table.rows, "seconds": seconds, "samples_per_second": rate})
        logits["logit_blanked"] = logits["logit"]
        if table.sequence_columns:
            logits["logit_blanked"] = loaded.predict(
                table, blank_histories=True, verbosity=runtime.verbosity
            )
        write_logits(predictions, table, logits, model_metadata(loaded))
