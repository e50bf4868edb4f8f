"""The file of a trained model, and its predictions."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..common import torchfile
from ..common.errors import UserError, first_line, is_of_machine
from ..dataset.batches import BatchSource
from ..dataset.feature_map import FeatureMap
from ..machine.runtime import Machine
from ..model import FESeq, ModelConfig
from ..model.build import build_model
from .prediction import inference_source, predict_logits

MODEL_FORMAT, MODEL_VERSION = "feseq-model", 3


@dataclass(frozen=True)
class TrainedModel:
    """What a model file holds.

    `simulated` tells what data the weights come from, `click_rate` the share of clicks in them,
    and `pos_weight` how many times a click counted in the loss, which raises the network's odds by
    that factor: predictions take it back.
    """

    network: FESeq
    config: ModelConfig
    feature_map: FeatureMap
    simulated: bool
    click_rate: float
    pos_weight: float = 1.0

    def save(self, path: Path) -> None:
        """Write one file that needs no pickle to load."""
        content = {
            "format": MODEL_FORMAT,
            "version": MODEL_VERSION,
            "config": asdict(self.config),
            "feature_map": self.feature_map.to_dict(),
            "simulated": self.simulated,
            "click_rate": self.click_rate,
            "pos_weight": self.pos_weight,
            "state_dict": {name: value.cpu() for name, value in self.network.state_dict().items()},
        }
        torchfile.save(content, path)

    @classmethod
    def load(cls, path: Path) -> "TrainedModel":
        """Read what `save` wrote; raises UserError for anything else."""
        try:
            content = torchfile.load(path)
            if (content["format"], content["version"]) != (MODEL_FORMAT, MODEL_VERSION):
                raise ValueError(f"format {content['format']} {content['version']}")
            config = ModelConfig(**content["config"])
            feature_map = FeatureMap.from_dict(content["feature_map"])
            _check_size(config, feature_map, content["state_dict"], path.stat().st_size)
            network = build_model(config, feature_map)
            network.load_state_dict(content["state_dict"])
            rates = float(content["click_rate"]), float(content["pos_weight"])
            if not (0 < rates[0] < 1 and 0 < rates[1] < math.inf):
                raise ValueError(f"click_rate and pos_weight {rates}")
            return cls(network, config, feature_map, bool(content["simulated"]), *rates)
        except Exception as error:  # what a file says of its network can be anything
            if is_of_machine(error):
                raise
            raise UserError(
                f"{path}: not a complete model file of this workflow "
                f"({first_line(error)}); delete it and run the same command again, it is trained "
                f"anew"
            ) from None

    def predict(self, source: BatchSource, machine: Machine, **options: Any) -> np.ndarray:
        """Logits of click probabilities at the data's click rate, else as `predict_logits`."""
        network = self.network.to(machine.device)
        shift = np.float32(math.log(self.pos_weight))
        return predict_logits(network, source, machine, **options) - shift

    def marks(self) -> dict[str, str]:
        """What a file of predictions says of the model they come from."""
        return {"click_rate": repr(self.click_rate)}

    def source(self, h5: Path, machine: Machine) -> BatchSource:
        """Batches of `h5` for inference; raises UserError if one is real and one simulated."""
        source = inference_source(h5, self.feature_map, self.config.max_len, machine)
        if source.table.source["simulated"] != self.simulated:
            names = {True: "simulated", False: "real"}
            raise UserError(
                f"{h5} holds {names[not self.simulated]} data, and the model was trained on "
                f"{names[self.simulated]} data; the two are never mixed: take both raw files from "
                f"one source"
            )
        return source


def _check_size(
    config: ModelConfig, feature_map: FeatureMap, weights: dict[str, torch.Tensor], size: int
) -> None:
    """Raise ValueError unless the network of `config` has these weights, within `size` bytes.

    Without memory: a file could declare a network of any size.
    """
    layers = (config.interaction_layers, config.transformer_layers, config.item_interaction_layers)
    if max(layers) > len(weights):
        raise ValueError(f"{max(layers)} layers, and {len(weights)} weights")
    with torch.device("meta"):
        expected = build_model(config, feature_map).state_dict()
    if {n: w.shape for n, w in expected.items()} != {n: w.shape for n, w in weights.items()}:
        raise ValueError("its weights are not those of its settings")
    if sum(weight.nbytes for weight in expected.values()) > size:
        raise ValueError("it is smaller than its weights")
