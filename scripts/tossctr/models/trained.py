"""A trained model of any kind. Its safetensors file has all that predictions need."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ..common import tensors
from ..common.errors import UserError, first_line
from ..common.prefetch import prefetch_map
from ..common.progress import Progress
from ..config.declared import Runtime
from ..config.names import Settings, require_made_for
from ..datasets.opening import TableSource, open_table
from ..datasets.table import Block
from ..features.encoding import FeatureEncoder
from ..features.feature_map import FeatureMap, check_simulated

FORMAT, VERSION = "tossctr-model", 20
# The errors that damaged content causes in Python and its libraries.
_DAMAGE_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class ModelInfo:
    """What every model file stores about the training.

    settings: by block of the config, such as `train`
    simulated, click_rate: of the train rows
    full_name: the model's size and name, such as full/len150; '' if trained outside the workflow
    id_column: name of the table's ID column; '' without one
    """

    settings: Settings
    feature_map: FeatureMap = field(repr=False)
    simulated: bool
    click_rate: float
    full_name: str = ""
    id_column: str = ""


@dataclass(frozen=True)
class Model:
    """A trained model, of which each model kind has a subclass.

    The subclass is a dataclass. Its fields are what the model learned, and the model file stores
    them. If a field is not an array or a plain value, the subclass overrides `content` and
    `from_content`.
    """

    # The model kind's name; equals its folder.
    kind: ClassVar[str]

    about: ModelInfo
    threads: int = field(default=1, kw_only=True, compare=False)

    def logits(self, encoder: FeatureEncoder, block: Block) -> np.ndarray:
        """Logits float32 [rows] of a block of rows, which assume the train rows' click rate."""
        raise NotImplementedError

    def predict(self, rows: TableSource, *, ablate_histories: bool = False) -> np.ndarray:
        """Logits float32 [rows]; with `ablate_histories`, as if all histories were empty."""
        table = open_table(rows)
        check_simulated(table.path, table.source["simulated"], self.about.simulated)
        encoder = FeatureEncoder(self.about.feature_map, table)
        read = table.blocks(encoder.history_columns)
        blocks = (block.newest(0) if ablate_histories else block for block in read)
        logits = [np.empty(0, np.float32)]
        predicting = Progress("predicted", table.rows)
        for block_logits in prefetch_map(partial(self.logits, encoder), blocks, self.threads):
            logits.append(np.asarray(block_logits, np.float32))
            predicting.advance(len(block_logits))
        return np.concatenate(logits)

    def content(self) -> dict[str, Any]:
        """What the model file stores, by name: arrays, plain values, or mappings of these."""
        shared = {f.name for f in fields(Model)}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in shared}

    @classmethod
    def from_content(cls, about: ModelInfo, content: Mapping[str, Any], threads: int) -> Self:
        """The model of a model file; `content` is what the method `content` returned."""
        return cls(about, **content, threads=threads)

    def save(self, path: Path) -> None:
        """Write the model file."""
        shared = {f.name: getattr(self.about, f.name) for f in fields(ModelInfo)}
        # As bytes: safetensors limits plain values, and so vocabularies, to 100 MB.
        feature_map = json.dumps(self.about.feature_map.to_dict()).encode()
        shared |= {"feature_map": np.frombuffer(feature_map, np.uint8)}
        tensors.save({"marks": _header(self.kind), **shared, **self.content()}, path)

    @classmethod
    def load(
        cls, path: Path, full_name: str = "", runtime: Runtime | None = None, threads: int = 1
    ) -> Self:
        """Read a model from its file; `runtime` is ignored, since the model predicts on the CPU.

        Raises UserError if the file is not a complete model of this kind, or if the model's name is
        not `full_name`, such as full/len150 ('': any name).
        """
        try:
            content = tensors.load(path)
            if (marks := content.pop("marks", None)) != (expected := _header(cls.kind)):
                raise ValueError(f"{marks}, not {expected}")
            shared = {f.name: content.pop(f.name) for f in fields(ModelInfo)}
            plain = json.loads(shared.pop("feature_map").tobytes())
            about = ModelInfo(**shared, feature_map=FeatureMap.from_dict(plain))
            model = cls.from_content(about, content, threads)
        except _DAMAGE_ERRORS as error:
            raise damaged_model_error(path, error) from None
        require_made_for(path, about.full_name, full_name)
        return model


def _header(kind: str) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "kind": kind}


def damaged_model_error(path: Path, error: Exception) -> UserError:
    """The UserError to raise if a model file cannot be read because of `error`."""
    return UserError(
        f"{path}: not a complete model file of this workflow ({first_line(error)}); if the "
        f"workflow trained it, delete the file and retrain: `snakemake --cores 4 {path}`"
    )
