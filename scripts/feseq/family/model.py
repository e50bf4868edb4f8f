"""A trained model of any family, and its file: one safetensors file with all that it needs."""

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
from ..config.names import Settings, check_name
from ..config.runtime import Runtime
from ..features.encoding import FeatureEncoder
from ..features.feature_map import FeatureMap, check_same_kind
from ..storage.block import Block
from ..storage.opening import TableSource, open_table

FORMAT, VERSION = "feseq-model", 13


@dataclass(frozen=True)
class About:
    """What all models know of their training.

    `settings` by block; `feature_map` says how rows are encoded; `simulated` is true if the train
    rows are simulated; `click_rate` is their share of clicks; `full_name` is size and name, such as
    full/len150, '' if the model was trained by hand.
    """

    settings: Settings
    feature_map: FeatureMap
    simulated: bool
    click_rate: float
    full_name: str = ""


@dataclass(frozen=True)
class Model:
    """A trained model, as `load` of its family gives it.

    A family derives a dataclass, whose fields are what it learned: these are what the file holds.
    Fields that are no arrays or plain values need their own `content` and `made_of`. A model
    predicts with `threads`.
    """

    # Its name, which is its folder's.
    family: ClassVar[str]

    about: About
    threads: int = field(default=1, kw_only=True, compare=False)

    def logits(self, encoder: FeatureEncoder, block: Block) -> np.ndarray:
        """Logits float32 [rows of the block], at the click rate of the train rows."""
        raise NotImplementedError

    def predict(
        self, rows: TableSource, *, ablate_histories: bool = False, verbosity: int = 0
    ) -> np.ndarray:
        """Logits float32 [rows], in the order of the rows; histories may be emptied."""
        table = open_table(rows)
        check_same_kind(table, self.about.simulated)
        logits = partial(self.logits, FeatureEncoder(self.about.feature_map, table))
        read = table.blocks(self.about.feature_map.history_columns)
        blocks = (block.without_events() if ablate_histories else block for block in read)
        found = [np.empty(0, np.float32)]
        predicting = Progress("predicted", table.rows, verbosity=verbosity)
        for made in prefetch_map(logits, blocks, self.threads):
            found.append(np.asarray(made, np.float32))
            predicting.advance(len(made))
        return np.concatenate(found)

    def content(self) -> dict[str, Any]:
        """What it learned, as its file has it: by name, nested arrays and plain values."""
        own = {f.name for f in fields(self)} - {f.name for f in fields(Model)}
        return {name: getattr(self, name) for name in own}

    @classmethod
    def made_of(cls, about: About, content: Mapping[str, Any], threads: int) -> Self:
        """The model with this `content`."""
        return cls(about, **content, threads=threads)

    def save(self, path: Path) -> None:
        """Write everything into one file."""
        shared = {f.name: getattr(self.about, f.name) for f in fields(About)}
        # As bytes: safetensors limits plain values, and so vocabularies, to 100 MB.
        feature_map = json.dumps(self.about.feature_map.to_dict()).encode()
        shared |= {"feature_map": np.frombuffer(feature_map, np.uint8)}
        tensors.save({"marks": _marks(self.family), **shared, **self.content()}, path)

    @classmethod
    def load(
        cls, path: Path, full_name: str = "", runtime: Runtime | None = None, threads: int = 1
    ) -> Self:
        """Read what `save` wrote; arrays come as NumPy's.

        Raises UserError for anything else, and for another model than the one of this `full_name`.
        """
        try:
            content = tensors.load(path)
            if (found := content.pop("marks", None)) != (wanted := _marks(cls.family)):
                if isinstance(found, dict) and found.get("family") != cls.family:
                    raise UserError(
                        f"{path}: a model of the family {found.get('family')}, where one of the "
                        f"family {cls.family} is needed; give the file of such a model"
                    )
                raise ValueError(f"{found}, not {wanted}")
            shared = {f.name: content.pop(f.name) for f in fields(About)}
            plain = json.loads(shared.pop("feature_map").tobytes())
            about = About(**shared, feature_map=FeatureMap.from_dict(plain))
            model = cls.made_of(about, content, threads)
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise unreadable(path, error) from None
        check_name(path, about.full_name, full_name)
        return model


def _marks(family_name: str) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "family": family_name}


def unreadable(path: Path, error: Exception) -> UserError:
    """What to say of a file that is no model."""
    return UserError(
        f"{path}: not a complete model file of this workflow ({first_line(error)}); take another "
        f"file or, where the workflow made it, delete it and run the same command again, or "
        f"`snakemake --cores 4 {path}`: the model is retrained"
    )
