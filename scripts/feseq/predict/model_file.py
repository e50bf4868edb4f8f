"""A trained network, its file, and what it predicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ..config.model import ModelConfig
from ..config.runtime import Runtime
from ..dataset.batches import BatchSource
from ..dataset.feature_map import check_same_kind
from ..dataset.opening import Rows
from ..family.model import About, Model
from ..model import FESeq
from ..model.build import build_model, placed
from ..model.device import Machine, start_runtime
from .prediction import inference_source, predict_logits


@dataclass(frozen=True)
class TrainedModel(Model):
    """A network, and the machine that it predicts on."""

    family = "feseq"

    network: FESeq
    machine: Machine = field(
        default_factory=lambda: Machine(torch.device("cpu")), compare=False, kw_only=True
    )

    @cached_property
    def config(self) -> ModelConfig:
        """What shapes the network."""
        return ModelConfig(**self.about.settings["model"])

    def content(self) -> dict[str, Any]:
        """Its weights."""
        return {"weights": self.network.state_dict()}

    @classmethod
    def made_of(cls, about: About, content: Mapping[str, Any], threads: int) -> Self:
        """The network with these weights."""
        network = build_model(ModelConfig(**about.settings["model"]), about.feature_map)
        weights = {name: torch.from_numpy(array) for name, array in content["weights"].items()}
        network.load_state_dict(weights)
        return cls(about, network, threads=threads)

    def predict(
        self, rows: Rows, *, blank_histories: bool = False, verbosity: int = 0
    ) -> np.ndarray:
        """Logits float32 [rows], see `predict_logits`, at the train rows' click rate."""
        network, source = placed(self.network, self.machine), self.source(rows)
        options: dict[str, Any] = {"blank_histories": blank_histories, "verbosity": verbosity}
        return predict_logits(network, source, self.machine, **options)

    def source(self, rows: Rows) -> BatchSource:
        """Batches of rows; raises UserError if one is simulated and one real."""
        source = inference_source(rows, self.about.feature_map, self.config, self.machine)
        check_same_kind(source.table, self.about.simulated)
        return source


def load(path: Path, full_name: str, runtime: Runtime, threads: int) -> TrainedModel:
    """The model in a file, on this machine."""
    return replace(TrainedModel.load(path, full_name), machine=start_runtime(runtime, threads))
