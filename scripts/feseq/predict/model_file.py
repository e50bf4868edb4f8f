"""The trained model and its file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..common import tensors
from ..common.errors import UserError, first_line
from ..config.model import ModelConfig
from ..config.names import check_name
from ..dataset.batches import BatchSource
from ..dataset.feature_map import FeatureMap, check_same_kind
from ..dataset.opening import Rows
from ..model import FESeq
from ..model.build import build_model, placed
from ..model.device import Machine
from .prediction import inference_source, predict_logits

MODEL_FORMAT, MODEL_VERSION = "feseq-model", 8


@dataclass(frozen=True)
class TrainedModel:
    """What a model file holds.

    `simulated` is true if the train rows are simulated; `click_rate` is their share of clicks;
    `full_name` is size and name, such as full/len150, '' if it was trained by hand.
    """

    network: FESeq
    config: ModelConfig
    feature_map: FeatureMap
    simulated: bool
    click_rate: float
    full_name: str = ""

    def save(self, path: Path) -> None:
        """Write everything into one file."""
        # As bytes: safetensors limits plain values, and so vocabularies, to 100 MB.
        feature_map = json.dumps(self.feature_map.to_dict()).encode()
        content = {
            "format": MODEL_FORMAT,
            "version": MODEL_VERSION,
            "config": asdict(self.config),
            "simulated": self.simulated,
            "click_rate": self.click_rate,
            "full_name": self.full_name,
            "feature_map": torch.frombuffer(bytearray(feature_map), dtype=torch.uint8),
            "weights": self.network.state_dict(),
        }
        tensors.save(content, path)

    @classmethod
    def load(cls, path: Path, full_name: str = "") -> "TrainedModel":
        """Read what `save` wrote; raises UserError for anything else, and for another model."""
        try:
            content = tensors.load(path)
            found = content.get("format"), content.get("version")
            if found != (MODEL_FORMAT, MODEL_VERSION):
                raise ValueError(f"format {found}, not {(MODEL_FORMAT, MODEL_VERSION)}")
            config = ModelConfig(**content["config"])
            plain = json.loads(content["feature_map"].numpy().tobytes())
            feature_map = FeatureMap.from_dict(plain)
            network = build_model(config, feature_map)
            network.load_state_dict(content["weights"])
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{path}: not a complete model file of this workflow ({first_line(error)}); "
                f"take another file or, where the workflow made it, delete it and run the same "
                f"command again, or `snakemake --cores 4 {path}`: the model is retrained"
            ) from None
        about = {name: content[name] for name in ("simulated", "click_rate", "full_name")}
        check_name(path, about["full_name"], full_name)
        return cls(network, config, feature_map, **about)

    def predict(self, source: BatchSource, machine: Machine, **options: Any) -> np.ndarray:
        """`predict_logits`, at the train rows' click rate."""
        return predict_logits(placed(self.network, machine), source, machine, **options)

    def marks(self) -> dict[str, str]:
        """What each file of predictions says of its model."""
        return {"click_rate": repr(self.click_rate), "full_name": self.full_name}

    def source(self, h5: Rows, machine: Machine) -> BatchSource:
        """Batches of `h5` for inference; raises UserError if one is simulated and one real."""
        source = inference_source(h5, self.feature_map, self.config, machine)
        check_same_kind(source.table, self.simulated)
        return source
