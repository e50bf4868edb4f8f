"""Export of a trained network to ONNX; no file is written if the logits differ."""

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
from ...features.feature_map import read_columns
from .network import FESeq
from .network.input_layer import column_count, field_sizes, inputs_of
from .network.positions import Padded
from .network_file import TrainedModel
from .scorer import FORMAT, METADATA, VERSION, Scorer, signed

logger = logging.getLogger(__name__)

# The largest allowed difference between two logits, as a share of max(1, |logit|).
BOUND = 1e-4
ROWS = 1_000
_UNSEEN_WORD, _UNSEEN_TOKEN = "never seen in training", str(10**12)
# Shares of rows without history, of missing values, and of unseen values.
_EMPTY, _MISSING, _UNSEEN = 0.1, 0.05, 0.05


def export(model: Path, valid: Files, onnx: Output, *, full_name: str = "") -> None:
    """Write a trained network and its feature map as one ONNX file.

    The network and its export, which takes raw values, score 1,000 rows of `valid`. Some have an
    empty history, unseen or missing values. Raises UserError, and writes nothing, if two logits of
    a row differ by more than BOUND.
    """
    trained = TrainedModel.load(model, full_name)
    with open_table(valid) as table:
        FeatureEncoder(trained.about.feature_map, table)  # refuses a table without its columns
        row_time = table.source.get("row_time")
        tokens = {field.column for field in trained.about.feature_map.sequences}
        rows = check_rows(table, ROWS, row_time, tokens)
    about = _about(trained, row_time)
    program = onnx_program(trained)
    scorer = Scorer(_content(program, about), name=str(onnx))
    exported, expected = scorer.logits(rows), trained.predict(scorer.table(rows))
    difference = np.abs(exported - expected)
    (wrong,) = np.nonzero(~(difference <= BOUND * np.maximum(1, np.abs(expected))))
    if len(wrong):
        row = wrong[0]
        raise UserError(
            f"{onnx}: not written: {len(wrong):,} of {len(expected):,} rows have other logits than "
            f"with {model}, such as row {row}: {exported[row]:.6f} instead of {expected[row]:.6f}; "
            f"install torch, onnxscript and onnxruntime in the versions of envs/requirements.txt "
            f"and export again"
        )
    largest = float(difference.max())
    about["check"] = {"largest_logit_difference": largest}
    with atomic_write(onnx) as temporary:
        temporary.write_bytes(_content(program, about))
    logger.info(
        "%s: logits of %d rows differ by at most %.1e from the network's", onnx, ROWS, largest
    )


def _about(trained: TrainedModel, row_time: str | None) -> dict[str, Any]:
    """The metadata of the exported file."""
    feature_map = trained.about.feature_map.without_folds()
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": trained.about.full_name,
        "simulated": trained.about.simulated,
        "click_rate": trained.about.click_rate,
        "max_len": trained.config.max_len,
        "row_time": read_columns([feature_map], row_time).row_time,
        "inputs": asdict(inputs_of(trained.config)),
        "feature_map": feature_map.to_dict(),
    }


def onnx_program(trained: TrainedModel) -> Any:
    """The network as an ONNX program, for any number of rows and events."""
    rows, events, whole = (
        torch.export.Dim(name, max=1 << 20) for name in ("rows", "events", "whole")
    )
    sizes = field_sizes(trained.config, trained.about.feature_map)
    sequences = len(sizes.sequence)
    # In the order of Padded; the names are those of the graph's inputs.
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
    """FESeq with the arguments of Padded."""

    def __init__(self, network: FESeq) -> None:
        super().__init__()
        self.network = network

    def forward(self, numbers: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
        return self.network(Padded(numbers, *inputs))


def _content(program: Any, about: Mapping[str, Any]) -> bytes:
    """The bytes of the file: the graph, its weights, and `about` as metadata."""
    program.model.metadata_props[METADATA] = json.dumps(about)
    file = io.BytesIO()
    program.save(file)
    return signed(file.getvalue())


def raw_rows(table: Table, rows: int, row_time: str | None = None) -> list[dict[str, Any]]:
    """A table's first rows, each as raw values by column name, with its time as `row_time`."""
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


def check_rows(
    table: Table, rows: int, row_time: str | None, tokens: set[str]
) -> list[dict[str, Any]]:
    """`rows` rows, repeated if the table has fewer.

    Some histories are empty, some values missing, and some categories and `tokens`, the columns
    of sequences, unseen in training.
    """
    random = np.random.default_rng(0)
    known = raw_rows(table, rows, row_time)
    checked = [dict(known[i % len(known)]) for i in range(rows)]
    for row in checked:
        for name in (*table.numeric_columns, *table.categorical_columns):
            drawn = random.random()
            if drawn < _MISSING:
                row[name] = None
            elif drawn > 1 - _UNSEEN and name in table.categorical_columns:
                row[name] = _UNSEEN_WORD
        is_empty = random.random() < _EMPTY
        for name in table.sequence_columns:
            events = [] if is_empty else row[name]
            unseen = random.random(len(events)) < _UNSEEN * (name in tokens)
            row[name] = [_UNSEEN_TOKEN if u else event for u, event in zip(unseen, events)]
    return checked
