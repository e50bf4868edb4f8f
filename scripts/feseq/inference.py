"""Model files, and the predictions of a trained model."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from . import torchfile
from .attention import mean_attention
from .batches import Batch, BatchSource
from .errors import UserError, first_line, is_of_machine
from .feature_map import FeatureMap
from .files import fingerprint, write_json
from .model import FESeq, FieldSizes, ModelConfig
from .parquet import write_table
from .progress import progress
from .runtime import Machine

logger = logging.getLogger(__name__)

MODEL_FORMAT, MODEL_VERSION = "feseq-model", 3
# Positions (rows x max_len) of one forward pass: enough to fill a GPU, in 1 GiB at width 200; on a
# CPU, few enough to stay in its caches.
POSITIONS_PER_BATCH = {"cuda": 1 << 17, "cpu": 1 << 13}


def build_model(config: ModelConfig, feature_map: FeatureMap) -> FESeq:
    """A fresh FESeq whose tables fit `feature_map`."""
    return FESeq(config, field_sizes(feature_map))


def field_sizes(feature_map: FeatureMap) -> FieldSizes:
    """The table sizes that `feature_map` asks for."""
    return FieldSizes(
        profile=tuple(field.size for field in feature_map.profile),
        target=tuple(field.size for field in feature_map.targets),
        sequence=tuple(field.size for field in feature_map.sequences),
        numeric=len(feature_map.numeric),
        shared=tuple(field.shared_with is not None for field in feature_map.sequences),
    )


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


def inference_source(
    h5: Path, feature_map: FeatureMap, max_len: int, machine: Machine
) -> BatchSource:
    """A batch source with batches of the size that inference takes."""
    batch_rows = max(1, POSITIONS_PER_BATCH[machine.device.type] // (max_len + 1))
    return BatchSource(h5, feature_map, max_len=max_len, batch_rows=batch_rows)


@torch.inference_mode()
def predict_logits(
    model: FESeq,
    source: BatchSource,
    machine: Machine,
    *,
    start: int = 0,
    stop: int | None = None,
    blank_sequences: bool = False,
    after_batch: Callable[[], None] = lambda: None,
    verbosity: int = 0,
) -> np.ndarray:
    """Logits float32 [stop - start], in file order. `blank_sequences` empties every history.

    `after_batch` is called after each batch, and may raise to end it.
    """
    stop = source.rows if stop is None else stop
    logits = np.empty(stop - start, np.float32)
    was_training = model.training
    model.eval()
    with progress("predicted", stop - start, verbosity=verbosity) as predicting:
        for batch in source.in_order(start, stop):
            if blank_sequences:
                batch = _without_history(batch)
            with machine.autocast():
                logit_B = model(batch.to(machine.device))
            logits[batch.row_B.numpy() - start] = logit_B.float().cpu().numpy()
            predicting.advance(len(batch))
            after_batch()
    model.train(was_training)
    return logits


def predict_probabilities(*arguments: Any, **options: Any) -> np.ndarray:
    """Click probabilities float32, as `predict_logits`."""
    logits = predict_logits(*arguments, **options)
    return torch.from_numpy(logits).sigmoid().numpy()


def predict_shard(
    model_file: Path,
    test_h5: Path,
    predictions: Path,
    *,
    start: int,
    stop: int,
    machine: Machine,
    code: Sequence[str] = (),
    verbosity: int = 1,
) -> None:
    """Write parquet columns id (string) and logit (float32) of test rows start to stop.

    Beside them stand which model, test file, rows and `code`, digests of it, they are of.
    """
    model = TrainedModel.load(model_file)
    source = model.source(test_h5, machine)
    source.encoder.warn_of_unseen(source.table.column("categorical", start, stop))
    logit = model.predict(source, machine, start=start, stop=stop, verbosity=verbosity)
    ids = np.char.decode(source.table.column("id", start, stop), "utf-8")
    table = pa.table({"id": pa.array(ids, pa.string()), "logit": logit})
    marks = model.marks() | {"model": fingerprint(model_file), "test": source.table.identity}
    marks |= {"start": str(start), "stop": str(stop), "rows": str(source.rows)}
    marks["code"] = " ".join(code)
    write_table(table, predictions, marks)
    logger.info("rows %s to %s predicted", f"{start:,}", f"{stop:,}")


def predict_validation(
    model_file: Path,
    valid_h5: Path,
    predictions: Path,
    speed: Path,
    attention: Path,
    *,
    machine: Machine,
    verbosity: int = 1,
) -> None:
    """Write the validation rows' predictions, how fast they came, and what attention looked at.

    `predictions`: parquet columns row, label, logit, and logit_blanked: histories emptied; `speed`:
    rows, seconds and samples_per_second (JSON); `attention`: see `mean_attention` (JSON).
    """
    model = TrainedModel.load(model_file)
    source = model.source(valid_h5, machine)
    if model.feature_map.fitted_on not in ("", source.table.identity):
        raise UserError(
            f"{valid_h5}: drawn from other rows than those of {model_file}, which may have been "
            f"trained on some of these; delete the model and run the same command again"
        )
    started = time.perf_counter()
    logit = model.predict(source, machine, verbosity=verbosity)
    seconds = time.perf_counter() - started
    table = pa.table(
        {
            "row": source.table.column("row"),
            "label": source.table.column("label"),
            "logit": logit,
            "logit_blanked": model.predict(
                source, machine, blank_sequences=True, verbosity=verbosity
            ),
        }
    )
    write_json(
        speed,
        {"rows": len(logit), "seconds": seconds, "samples_per_second": len(logit) / seconds},
    )
    write_json(attention, mean_attention(model.network, model.feature_map, source, machine))
    write_table(table, predictions, model.marks())


def _without_history(batch: Batch) -> Batch:
    empty = {
        "history_ST": batch.history_ST[:, :0],
        "offsets": torch.zeros_like(batch.offsets),
        "elapsed_T": None if batch.elapsed_T is None else batch.elapsed_T[:0],
    }
    return Batch(**(vars(batch) | empty))
