"""What the sections of the benchmark of a GPU share."""

import argparse
from itertools import chain, islice
from pathlib import Path

import data
import torch

import model
from feseq.config.catalog import size_settings
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.dataset.batch import Batch
from feseq.model.device import Machine, start_runtime
from feseq.train.step import Stepper


class Setting:
    """Data, device and sizes."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options, self.tiny = folder, options, options.tiny
        self.lengths = (16,) if self.tiny else (500, 150, 100)
        self.rows, self.mean_length = (500, 20) if self.tiny else (20_000, 500)
        self.seconds = 0.05 if self.tiny else 2.0

    def machine(self, precision: str = "auto", compiled: bool = False) -> Machine:
        """This machine's device; `compiled` means as by default."""
        compiles = "auto" if compiled else False
        runtime = Runtime(device=self.options.device, precision=precision, compile=compiles)
        return start_runtime(runtime, self.options.threads)

    def config(self, size: str, max_len: int) -> ModelConfig:
        """The network of a size."""
        return ModelConfig(max_len=max_len, **size_settings(data.CONFIG, size)["model"])

    def batch_rows(self, size: str) -> int:
        """The batch size of a size."""
        rows = size_settings(data.CONFIG, size)["train"]["batch_size"]
        return min(rows, 64) if self.tiny else rows

    def case(self, size: str, max_len: int, machine: Machine) -> model.Case:
        """The networks of a size, ours and the plain one."""
        return model.Case(self.folder, size, max_len, machine)

    def batches(self, case: model.Case, size: str, count: int = 8) -> list[Batch]:
        """Training batches ahead of use, as the loop has them."""
        some = islice(case.batches(self.batch_rows(size)), count)
        return list(case.machine.ahead(some))

    def losses(self, machine: Machine, max_len: int, steps: int) -> list[float]:
        """The loss of each step of a training of the full network from the same start."""
        case = self.case("full", max_len, machine)
        rate = size_settings(data.CONFIG, "full")["train"]["learning_rate"]
        optimizer = torch.optim.Adam(case.network.parameters(), lr=rate, fused=True)
        stepper = Stepper(case.network.train(), optimizer, machine)
        found = []
        rows = min(512, self.batch_rows("full"))
        epochs = chain.from_iterable(case.batches(rows) for _ in range(steps))
        for batch in islice(epochs, steps):
            stepper.take(batch)
            found.append(stepper.mean_loss())
        return found
