"""The model kind FESeq: its settings, and the number of GPUs of its jobs."""

from collections.abc import Mapping
from typing import Any

from ...common.errors import ImpossibleNetworkError, UserError
from ...config.columns import Columns
from ...config.names import Settings
from ..base import ModelKind, size_settings
from .network_settings import ModelConfig, TrainConfig


class FESeqKind(ModelKind):
    """The model kind FESeq."""

    def settings(self, config: Mapping[str, Any], size: str, model: str) -> Settings:
        """The settings of the blocks `model` and `train`, with the max_len in the model's name.

        Raises UserError if the setting `sizes.<size>.max_len` does not list this max_len.
        """
        settings = super().settings(config, size, model)
        max_len = int(model.partition("-")[0].removeprefix("len"))
        listed = size_settings(config, size)["max_len"]
        if max_len not in listed:
            raise UserError(
                f"{model}: the setting sizes.{size}.max_len is {listed}; add {max_len} to the list"
            )
        return {**settings, "model": {**settings["model"], "max_len": max_len}}

    def check(self, config: Mapping[str, Any], columns: Columns, size: str, model: str) -> None:
        """Raise UserError if the settings `model.times` or `model.heads` do not fit `columns`."""
        settings = self.settings(config, size, model)["model"]
        if settings["times"] and columns.event_time is None:
            raise UserError(
                f"model.times of {model}, size {size}, is true, but no group in columns.use has "
                "event times; set model.times to false, or give one of these groups the "
                "key `times: {<sequence column of event times>: <column of the row's time>}`"
            )
        try:
            # A network without sequences has an empty sequence.
            fields = max(1, len(columns.sequences)) + len(columns.profile)
            ModelConfig(**settings).width(fields)
        except ImpossibleNetworkError as error:
            raise UserError(f"model.heads of {model}, size {size}: {error}") from None

    def gpus(self, config: Mapping[str, Any], size: str, model: str) -> int:
        """The setting `train.gpus`."""
        return self.settings(config, size, model)["train"]["gpus"]


KIND = FESeqKind(
    package=__package__,
    pattern=r"len[1-9]\d*",
    environment="train",
    blocks={"model": ModelConfig, "train": TrainConfig},
    entry_points={
        "train": "train_network",
        "load": "network_file",
        "trial_runner": "train_network",
        "export": "onnx_export",
    },
    has_learning_curves=True,
    inference_gpus=1,
)
