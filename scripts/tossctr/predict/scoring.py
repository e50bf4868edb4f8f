"""Score the rows of raw files with one model or a blend.

Files are processed like the test table: each part is converted to H5, then predicted. So the logits
are exactly those of a submission.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from ..common.errors import UserError
from ..common.files import Output, atomic_write, scratch_dir
from ..common.logits import prior_shift, sigmoid
from ..common.machine import processors
from ..common.progress import Progress
from ..config.declared import DEFAULT_RUNTIME, Delimiter, Runtime
from ..config.names import Prior
from ..datasets.conversion import convert_test
from ..datasets.opening import open_table
from ..features.feature_map import check_simulated
from ..raw.location import table_locations
from ..raw.reading import RawTable
from ..raw.values import ROW_COLUMN, row_ids
from .blend import Blend
from .model_predictions import predict_rows

logger = logging.getLogger(__name__)


def score_files(
    model: list[Path],
    input: list[str],
    output: Output,
    *,
    id_column: str | None = None,
    weights: list[float] | None = None,
    fitted: Path | None = None,
    prior: Prior = "observed",
    delimiter: Delimiter | None = None,
    part_rows: Annotated[int, Field(ge=1, le=10**9)] = 500_000,
    runtime: Runtime = DEFAULT_RUNTIME,
    threads: Annotated[int, Field(ge=1, le=1_000)] = processors(),
) -> None:
    """Write the click probability of each row of `input`, as parquet.

    model: model files, whose logits are averaged
    input: raw tables, local or remote
    output: columns `id_column` (string) and probability (float32)
    id_column: name of the ID column; None: that of the first model's table. If the table has none,
        a column `row` numbers the rows from 1
    weights, fitted: a weight for each model, or a JSON file of weights by name; None: equal weights
    prior: click rate that the probabilities assume, 'observed' (that of the train rows) or
        'balanced' (one half)
    delimiter: of CSV files; None: their names decide
    part_rows: approximate rows of each temporary file beside `output`; a CSV file is not split

    Raises UserError, and writes nothing, if a file has no rows, lacks a column, or a row has no ID.
    """
    if output.suffix != ".parquet":
        raise UserError(f"{output}: scores are parquet files; give a name that ends in .parquet")
    blend = Blend.load(model, weights, fitted, threads, runtime=runtime)
    about = [each.about for each in blend.models]
    shift = prior_shift(prior, (each.click_rate for each in about))
    id_column = id_column or about[0].id_column
    columns = replace(blend.columns, id=id_column)
    tables = table_locations(input, delimiter)
    files = {os.path.realpath(str(file)) for table in tables for file in table.files}
    if os.path.realpath(output) in files:
        raise UserError(f"{output}: is also an input; name another output file")
    raw = [RawTable(table, columns=columns) for table in tables]
    for file in raw:
        file.check_columns(columns, columns.id)
        for each in about:
            check_simulated(file.location, file.is_simulated, each.simulated)
    models = " + ".join(each.full_name or str(path) for each, path in zip(about, model))
    metadata = {"models": models, "prior": prior, "click_rate": repr(about[0].click_rate)}
    fields = {id_column or ROW_COLUMN: pa.string(), "probability": pa.float32()}
    schema = pa.schema(fields, metadata)
    progress, scored = Progress("scored", sum(file.rows for file in raw)), 0
    with (
        scratch_dir(output) as folder,
        atomic_write(output) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):
        h5 = folder / "part.h5"
        for part in (part for file in raw for part in file.listing(part_rows).parts):
            paths = [piece.file for piece in part.pieces]
            convert_test(paths, columns, h5, part=part, threads=threads)
            with open_table(h5) as table:
                ids, logit = predict_rows(blend.models, blend.weights, table)
            if not id_column:
                ids = row_ids(scored, part.rows)
            probability = sigmoid(logit - shift).astype(np.float32)
            writer.write_table(pa.table([ids, probability], schema))
            scored += part.rows
            progress.advance(part.rows)
    logger.info("%s: %s rows scored by %s", output, f"{scored:,}", models)
