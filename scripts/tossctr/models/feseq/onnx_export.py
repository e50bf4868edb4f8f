"""Exports a trained network to ONNX, and checks that the logits stay the same."""

import io
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.onnx
from torch import Tensor, nn

from ...common.errors import UserError
from ...common.files import Output, atomic_write
from ...datasets.categories import codes_of, words_by_token
from ...datasets.opening import Files, open_table
from ...datasets.table import Table
from ...features.encoding import FeatureEncoder
from .network import FESeq
from .network.input_layer import column_count, input_sizes, inputs_of
from .network.positions import PaddedRows
from .network_file import TrainedNetwork
from .scorer import FORMAT, METADATA, VERSION, Scorer, with_checksum

logger = logging.getLogger(__name__)

# Maximum difference between two logits, as a share of max(1, |logit|).
MAX_DIFFERENCE = 1e-4
CHECK_ROWS = 1_000
_UNKNOWN_WORD, _UNKNOWN_TOKEN = "never seen in training", str(10**12)
# Shares of rows without history, of missing values, and of unknown values in the check.
_EMPTY, _MISSING, _UNKNOWN = 0.1, 0.05, 0.05


def export(model: Path, valid: Files, onnx: Output, *, full_name: str = "") -> None:
    """Write a trained network and its feature map as one ONNX file.

    As a check, network and file predict 1,000 rows of `valid`. Some of these rows get an empty
    history, unknown values or missing values. Raises UserError, and writes nothing, if the two
    logits of a row differ by more than MAX_DIFFERENCE.
    """
    trained = TrainedNetwork.load(model, full_name)
    with open_table(valid) as table:
        FeatureEncoder(trained.about.feature_map, table)  # refuses a table without its columns
        row_time = trained.about.feature_map.row_time
        tokens = {field.column for field in trained.about.feature_map.sequences}
        rows = rows_for_check(table, CHECK_ROWS, row_time, tokens)
    about = _metadata(trained)
    program = onnx_program(trained)
    scorer = Scorer(_content(program, about), name=str(onnx))
    exported, expected = scorer.logits(rows), trained.predict(scorer.table(rows))
    difference = np.abs(exported - expected)
    (wrong,) = np.nonzero(~(difference <= MAX_DIFFERENCE * np.maximum(1, np.abs(expected))))
    if len(wrong):
        row = wrong[0]
        raise UserError(
            f"{onnx}: not written: {len(wrong):,} of {len(expected):,} rows have logits that "
            f"differ from {model}: row {row} has {exported[row]:.6f}, not {expected[row]:.6f}. "
            f"Install torch, onnxscript and onnxruntime in the versions of envs/requirements.txt, "
            f"and export again"
        )
    largest = float(difference.max())
    about["check"] = {"largest_logit_difference": largest}
    with atomic_write(onnx) as temporary:
        temporary.write_bytes(_content(program, about))
    text = "%s: the logits of %d rows differ from the network's by at most %.1e"
    logger.info(text, onnx, CHECK_ROWS, largest)


def _metadata(trained: TrainedNetwork) -> dict[str, Any]:
    """The metadata of the exported file."""
    feature_map = trained.about.feature_map
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": trained.about.full_name,
        "simulated": trained.about.simulated,
        "click_rate": trained.about.click_rate,
        "max_len": trained.config.max_len,
        "inputs": asdict(inputs_of(trained.config)),
        "feature_map": feature_map.to_dict(),
    }


def onnx_program(trained: TrainedNetwork) -> Any:
    """The network as an ONNX program that takes any number of rows and events."""
    rows, events, whole = (
        torch.export.Dim(name, max=1 << 20) for name in ("rows", "events", "whole")
    )
    sizes = input_sizes(trained.config, trained.about.feature_map)
    sequences = len(sizes.sequence)
    # In the order of the fields of PaddedRows; keys are the names of the graph's inputs.
    shapes: dict[str, tuple[Any, ...]] = {
        "profile": (rows, len(sizes.profile)),
        "target": (rows, len(sizes.target)),
        "history": (sequences, rows, events),
        "length": (rows,),
        "elapsed": (rows, events),
        "whole_history": (sequences, rows, whole),
        "whole_length": (rows,),
        "context": (rows, len(sizes.context)),
    }
    example: dict[Any, int] = {rows: 3, events: 2, whole: 4}
    inputs = [
        torch.zeros([example.get(n, n) for n in shape], dtype=torch.long)
        for shape in shapes.values()
    ]
    dynamic = [
        {axis: n for axis, n in enumerate(shape) if n in example} for shape in shapes.values()
    ]
    numbers = {
        encoding: torch.zeros(example[rows], column_count(encoding, sizes))
        for encoding in inputs_of(trained.config).numbers
    }
    for name in ("torch.onnx", "onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            _PaddedFESeq(trained.network.cpu().eval()),
            (numbers, *inputs),
            dynamo=True,
            input_names=[*numbers, *shapes],
            output_names=["logit"],
            dynamic_shapes=({encoding: {0: rows} for encoding in numbers}, tuple(dynamic)),
            external_data=False,
            optimize=True,
            verbose=False,
        )


class _PaddedFESeq(nn.Module):
    """FESeq with the fields of PaddedRows as arguments."""

    def __init__(self, network: FESeq) -> None:
        super().__init__()
        self.network = network

    def forward(self, numbers: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
        return self.network(PaddedRows(numbers, *inputs))


def _content(program: Any, about: Mapping[str, Any]) -> bytes:
    """The content of the file: the graph, its weights, and `about` as metadata."""
    program.model.metadata_props[METADATA] = json.dumps(about)
    file = io.BytesIO()
    program.save(file)
    return with_checksum(file.getvalue())


def raw_rows(table: Table, rows: int, row_time: str | None = None) -> list[dict[str, Any]]:
    """The first `rows` rows of a table, each a dict of raw values by column name.

    `row_time` is the name of the column of the rows' times; None: rows have no times.
    """
    block = table.read(0, min(rows, table.rows))
    columns = dict(zip(table.numeric_columns, block.numeric.T.tolist()))
    for name, codes in zip(table.categorical_columns, block.categorical.T):
        words = table.vocabulary(name)
        word_of = dict(zip(codes_of(words).tolist(), words))
        columns[name] = [word_of.get(code) for code in codes.tolist()]
    for name, ragged in block.sequences.items():
        words = table.vocabulary(name)
        name_of = words_by_token(words)
        tokens = np.split(ragged.values, ragged.offsets[1:-1])
        columns[name] = [[name_of.get(t) or str(t) for t in row.tolist()] for row in tokens]
    if row_time and block.time is not None:
        columns[row_time] = block.time.tolist()
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def rows_for_check(
    table: Table, rows: int, row_time: str | None, tokens: set[str]
) -> list[dict[str, Any]]:
    """A table's first `rows` raw rows, repeated if there are fewer, with random changes.

    Some histories become empty, and some values missing. Some categories, and some events of the
    history columns `tokens`, become unknown. `row_time` is the column of the rows' times.
    """
    random = np.random.default_rng(0)
    raw = raw_rows(table, rows, row_time)
    changed = [dict(raw[i % len(raw)]) for i in range(rows)]
    for row in changed:
        for name in (*table.numeric_columns, *table.categorical_columns):
            drawn = random.random()
            if drawn < _MISSING:
                row[name] = None
            elif drawn > 1 - _UNKNOWN and name in table.categorical_columns:
                row[name] = _UNKNOWN_WORD
        is_empty = random.random() < _EMPTY
        for name in table.sequence_columns:
            events = [] if is_empty else row[name]
            unknown = random.random(len(events)) < (_UNKNOWN if name in tokens else 0)
            row[name] = [_UNKNOWN_TOKEN if u else event for u, event in zip(unknown, events)]
    return changed
