"""A trained network, its file, and what it predicts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config.model import ModelConfig
from ..config.runtime import Runtime
from ..dataset.batches import BatchSource
from ..dataset.feature_map import FeatureMap, check_same_kind
from ..dataset.opening import Rows
from ..model import FESeq
from ..model.build import build_model, placed
from ..model.device import Machine, start_runtime
from .container import Content, read_model, save_model, unreadable
from .prediction import inference_source, predict_logits

_FAMILY = "feseq"


def _cpu() -> Machine:
    return Machine(torch.device("cpu"))


@dataclass(frozen=True)
class TrainedModel:
    """What a model file holds, and the machine that it predicts on.

    `simulated` is true if the train rows are simulated; `click_rate` is their share of clicks;
    `full_name` is size and name, such as full/len150, '' if it was trained by hand.
    """

    network: FESeq
    config: ModelConfig
    feature_map: FeatureMap
    simulated: bool
    click_rate: float
    full_name: str = ""
    machine: Machine = field(default_factory=_cpu, compare=False)

    def save(self, path: Path) -> None:
        """Write everything into one file."""
        about = (self.feature_map, self.simulated, self.click_rate, self.full_name)
        own = {"weights": self.network.state_dict()}
        save_model(path, _FAMILY, Content({"model": asdict(self.config)}, *about, own))

    @classmethod
    def load(cls, path: Path, full_name: str = "") -> "TrainedModel":
        """Read what `save` wrote; raises UserError for anything else, and for another model."""
        read = read_model(path, _FAMILY, full_name)
        try:
            config = ModelConfig(**read.settings["model"])
            network = build_model(config, read.feature_map)
            network.load_state_dict(_tensors(read.own["weights"]))
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise unreadable(path, error) from None
        return cls(
            network, config, read.feature_map, read.simulated, read.click_rate, read.full_name
        )

    def predict(
        self, rows: Rows, *, blank_histories: bool = False, verbosity: int = 0
    ) -> np.ndarray:
        """Logits float32 [rows], see `predict_logits`, at the train rows' click rate."""
        network, source = placed(self.network, self.machine), self.source(rows)
        options: dict[str, Any] = {"blank_histories": blank_histories, "verbosity": verbosity}
        return predict_logits(network, source, self.machine, **options)

    def source(self, rows: Rows) -> BatchSource:
        """Batches of rows; raises UserError if one is simulated and one real."""
        source = inference_source(rows, self.feature_map, self.config, self.machine)
        check_same_kind(source.table, self.simulated)
        return source


def load(path: Path, full_name: str, runtime: Runtime, threads: int) -> TrainedModel:
    """The model in a file, on this machine."""
    return replace(TrainedModel.load(path, full_name), machine=start_runtime(runtime, threads))


def _tensors(weights: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in weights.items()}
