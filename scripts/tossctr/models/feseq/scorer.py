"""Scores rows in memory with an exported model. This module does not import PyTorch."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ...common.errors import UserError, first_line
from ...common.logits import require_finite, sigmoid
from ...common.machine import processors
from ...datasets.rows import Rows, row_table
from ...datasets.table import MemoryTable
from ...features.encoding import FeatureEncoder, Inputs
from ...features.feature_map import FeatureMap, needed_columns

logger = logging.getLogger(__name__)

# The key of the metadata of an exported file: JSON with all that the graph does not hold.
METADATA = "tossctr"
FORMAT, VERSION = "tossctr-onnx", 4
# The bytes that `with_checksum` adds.
_CHECKSUM_SIZE = 76
# Maximum positions of a run, which fit in a core's caches.
_POSITIONS_PER_RUN = 1 << 13


class Scorer:
    """Scores rows of raw values with an exported model, the `content` of a file model.onnx.

    Several threads may share a scorer. A call computes on up to `threads` cores. If `content` is
    not an exported model, raises a UserError that begins with `name`.
    """

    def __init__(self, content: bytes, threads: int = 1, name: str = "the model") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(threads, processors())
        options.log_severity_level = 3  # no warnings about shapes that it cannot infer
        try:
            if content != with_checksum(content[:-_CHECKSUM_SIZE]):
                raise ValueError("wrong checksum, or another version")
            providers = ["CPUExecutionProvider"]
            self.session = onnxruntime.InferenceSession(content, options, providers=providers)
            metadata = self.session.get_modelmeta().custom_metadata_map
            about: dict[str, Any] = json.loads(metadata[METADATA])
            if (about["format"], about["version"]) != (FORMAT, VERSION):
                raise ValueError("another version")
            # Not in `about`, since it is too long to print.
            self.feature_map = FeatureMap.from_dict(about.pop("feature_map"))
            self.about, inputs = about, Inputs(**about["inputs"])
            self.columns = needed_columns([self.feature_map])
            self.encoder = FeatureEncoder(self.feature_map, self.table([]), inputs)
            # The first call compiles the encoder.
            row = dict.fromkeys(self.raw_columns) | {self.columns.row_time or "": 0}
            self._run(self.table([row]), np.arange(1))
        except Exception as error:  # ONNX Runtime raises its own classes
            raise UserError(
                f"{name}: not a complete exported model of this workflow ({first_line(error)}); "
                f"use another file. If the workflow made the file, delete it and run "
                f"`snakemake --cores 4 {name}`"
            ) from None

    @classmethod
    def load(cls, path: Path | str, threads: int = 1) -> "Scorer":
        """Load a file model.onnx; raises UserError if it is not an exported model."""
        return cls(Path(path).read_bytes(), threads, str(path))

    @property
    def raw_columns(self) -> list[str]:
        """The columns that each row must have."""
        return [*self.columns.features]

    def table(self, rows: Rows) -> MemoryTable:
        """The rows as a table; raises UserError for a missing column or an invalid value."""
        return row_table(rows, self.columns, self.about["simulated"])

    def score(self, rows: Rows) -> np.ndarray:
        """Click probabilities float64 [rows], which assume the click rate of the train rows.

        A row maps column names to raw values. Columns that are not in `raw_columns` are ignored.
        Raises UserError for a missing column, an invalid value or a logit that is not finite.
        """
        return sigmoid(self.logits(rows))

    def logits(self, rows: Rows) -> np.ndarray:
        """Logits float32 [rows] of raw rows, for a blend with other models."""
        table = self.table(rows)
        logits = np.empty(table.rows, np.float32)
        lengths = self.encoder.lengths(table.block)
        # Rows of similar lengths run together, so that padding is short.
        order = np.argsort(-lengths, kind="stable")
        while len(order):
            positions = min(int(lengths[order[0]]), self.about["max_len"]) + 1
            chunk, order = np.split(order, [max(1, _POSITIONS_PER_RUN // positions)])
            logits[chunk] = self._run(table, chunk)
        require_finite(logits)
        return logits

    def _run(self, table: MemoryTable, rows: np.ndarray) -> np.ndarray:
        """The graph's logits float32 [rows] of the rows with these indices."""
        block = table.block.take(rows)
        encoded = self.encoder.encode(block)
        codes, offsets, elapsed = self.encoder.histories(block)
        if elapsed is None:
            elapsed = np.zeros(codes.shape[1], np.int64)
        *sequences, elapsed = (_padded(values, offsets) for values in (*codes, elapsed))
        history, length, max_len = np.stack(sequences), np.diff(offsets), self.about["max_len"]
        inputs = {
            "profile": encoded.profile,
            "target": encoded.target,
            "history": history[..., -max_len:],
            "length": np.minimum(length, max_len),
            "elapsed": elapsed[:, -max_len:],
            "whole_history": history,
            "whole_length": length,
            "context": encoded.context,
            **encoded.numbers,
        }
        # A network takes some of these inputs.
        wanted = {each.name: inputs[each.name] for each in self.session.get_inputs()}
        (logit,) = self.session.run(None, wanted)
        return logit


def with_checksum(model: bytes) -> bytes:
    """Add the SHA-256 of a serialized ONNX model to its metadata; returns the new bytes."""
    entry = b"\x0a\x06sha256\x12\x40" + hashlib.sha256(model).hexdigest().encode()
    # Field 14 of a ModelProto; serialized protocol buffers can be concatenated.
    return model + b"\x72" + bytes([len(entry)]) + entry


def _padded(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The rows, left-padded with zeros, int64 [rows, columns]; `offsets` are their bounds."""
    lengths = np.diff(offsets)
    longest = max(1, int(lengths.max(initial=0)))
    padded = np.zeros((len(lengths), longest), np.int64)
    padded[np.arange(longest) >= longest - lengths[:, None]] = values
    return padded
