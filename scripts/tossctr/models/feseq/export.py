"""Export of a trained network to ONNX, written only if both give the same logits."""

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
from torch import Tensor

from ...common.errors import UserError
from ...common.files import Output, written_beside
from ...common.logits import sigmoid
from ...datasets.opening import Files, open_table
from ...features.encoding import DEFAULT_INPUTS, FeatureEncoder
from ...features.feature_map import read_columns
from .check_rows import check_rows
from .network.build import field_sizes, inputs_of
from .network.input_layer import column_count
from .network.padded import INPUTS, PaddedFESeq
from .network_file import TrainedModel
from .scorer import FORMAT, METADATA, VERSION, Scorer, signed

logger = logging.getLogger(__name__)

# The largest difference of two logits, in units of the larger of 1 and the logit itself.
BOUND = 1e-4
ROWS = 1_000


def export(model: Path, valid: Files, onnx: Output, *, full_name: str = "") -> None:
    """Write a trained network and its feature map as one ONNX file.

    Both score 1,000 rows of `valid`, among them empty histories, unseen and missing values, the
    exported one from raw values. Raises UserError, and writes nothing, if two of their logits
    differ by more than BOUND.
    """
    trained = TrainedModel.load(model, full_name)
    with open_table(valid) as table:
        FeatureEncoder(trained.about.feature_map, table)  # refuses one of other columns
        row_time = table.source.get("row_time")
        tokens = {field.column for field in trained.about.feature_map.sequences}
        rows, counts = check_rows(table, ROWS, row_time, tokens)
    about = _about(trained, row_time)
    program = onnx_program(trained)
    scorer = Scorer(_content(program, about), name=str(onnx))
    exported, expected = scorer.logits(rows), trained.predict(scorer.table(rows))
    _check(exported, expected, onnx, model)
    logit, probability = (
        float(np.abs(one - other).max())
        for one, other in ((exported, expected), (sigmoid(exported), sigmoid(expected)))
    )
    about["check"] = {"largest_logit_difference": logit, **counts}
    with written_beside(onnx) as temporary:
        temporary.write_bytes(_content(program, about))
    logger.info(
        "%s: logits differ by at most %.1e from the network's, and probabilities by %.1e, on %s",
        onnx,
        logit,
        probability,
        ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items()),
    )


def _check(exported: np.ndarray, expected: np.ndarray, onnx: Path, model: Path) -> None:
    """Raise UserError if two logits differ by more than BOUND, or are not finite."""
    difference = np.abs(exported - expected)
    wrong = np.flatnonzero(~(difference <= BOUND * np.maximum(1, np.abs(expected))))
    if len(wrong):
        row = wrong[0]
        raise UserError(
            f"{onnx}: not written: {len(wrong):,} of {len(expected):,} rows have other logits than "
            f"with {model}, row {row} for example {exported[row]:.6f} instead of "
            f"{expected[row]:.6f}; install torch, onnxscript and onnxruntime in the versions of "
            f"envs/requirements.txt and export again"
        )


def _about(trained: TrainedModel, row_time: str | None) -> dict[str, Any]:
    """The metadata of the exported file."""
    feature_map = trained.about.feature_map.for_other_rows()
    inputs = asdict(inputs_of(trained.config))
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": trained.about.full_name,
        "simulated": trained.about.simulated,
        "click_rate": trained.about.click_rate,
        "max_len": trained.config.max_len,
        "row_time": read_columns([feature_map], row_time).row_time,
        # Defaults are left out, so that older scorers need not know new inputs.
        "inputs": {name: x for name, x in inputs.items() if x != getattr(DEFAULT_INPUTS, name)},
        "feature_map": feature_map.to_dict(),
    }


def onnx_program(trained: TrainedModel) -> Any:
    """The network as an ONNX program, for any number of rows and events."""
    network = trained.network.cpu()
    rows, events, whole = (
        torch.export.Dim(name, max=1 << 20) for name in ("rows", "events", "whole")
    )
    example, numbers = _example(trained)
    shapes: dict[str, Any] = {"numbers": {encoding: {0: rows} for encoding in numbers}}
    shapes |= {name: {0: rows} for name in INPUTS}
    shapes |= {"history": {1: rows, 2: events}, "elapsed": {0: rows, 1: events}}
    shapes["whole_history"] = {1: rows, 2: whole}
    for name in ("torch.onnx", "onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            PaddedFESeq(network.eval()),
            (numbers, *example),
            dynamo=True,
            input_names=[*numbers, *INPUTS],
            output_names=["logit"],
            dynamic_shapes=tuple(shapes.values()),
            external_data=False,
            optimize=True,
            verbose=False,
        )


def _example(trained: TrainedModel) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Inputs of the right shapes, in the order of INPUTS, and numbers; all of them are 0."""
    rows, events = 3, 2
    sizes = field_sizes(trained.config, trained.about.feature_map)
    shapes = {
        "profile": (rows, len(sizes.profile)),
        "target": (rows, len(sizes.target)),
        "history": (len(sizes.sequence), rows, events),
        "length": (rows,),
        "elapsed": (rows, events),
        "whole_history": (len(sizes.sequence), rows, 2 * events),
        "whole_length": (rows,),
        "context": (rows, len(sizes.context)),
    }
    inputs = tuple(torch.zeros(shapes[name], dtype=torch.long) for name in INPUTS)
    encodings = inputs_of(trained.config).numbers
    return inputs, {name: torch.zeros(rows, column_count(name, sizes)) for name in encodings}


def _content(program: Any, about: Mapping[str, Any]) -> bytes:
    """The bytes of the file: the graph, its weights, and `about` as metadata."""
    program.model.metadata_props[METADATA] = json.dumps(about)
    file = io.BytesIO()
    program.save(file)
    return signed(file.getvalue())
