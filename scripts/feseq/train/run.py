"""Training of one FESeq model: from H5 files and a feature map to the model and its metrics."""

import csv
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..common.files import fingerprint, write_json, written_beside
from ..common.log import only_errors
from ..common.ranks import Ranks, in_group, joined
from ..config.model import ModelConfig
from ..config.runtime import Runtime
from ..config.train import TrainConfig
from ..dataset.batch import Batch
from ..dataset.batches import BatchSource
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.opening import Files, Rows, open_table, train_rows
from ..dataset.table import Table, without_holdout
from ..families import Settings
from ..model.build import batch_source, build_model, field_sizes
from ..model.device import Machine, start_runtime
from ..model.history import TimeEmbedding
from ..predict.model_file import TrainedModel
from ..predict.prediction import inference_source
from .checkpoint import Checkpoint, locked
from .loop import Evaluation, Trainer
from .memory import check_network, copies_of, count_parameters, micro_batch_rows
from .processes import end_with_launcher, run_under_torchrun
from .replay import Replay
from .tensorboard import Curves
from .warm_start import WarmStart

logger = logging.getLogger(__name__)

# A larger share of events with uninformative times is worth a warning.
_ODD_SHARE = 0.9
Sources = tuple[BatchSource, BatchSource | None]


@dataclass(frozen=True)
class TrainingRun:
    """The data and the settings of one training.

    With `replay`, the training.json of an earlier run, it repeats that run's steps up to its best
    weights, on train and validation rows, without validation. `full_name` is size and name of
    the model, such as full/len150, '' for one that has no place.
    """

    train_h5: Files
    valid_h5: Files
    feature_map_json: Path
    model_config: ModelConfig
    train_config: TrainConfig
    replay: Path | None = None
    full_name: str = ""

    @property
    def train_rows(self) -> Rows:
        """The rows that it trains on."""
        return train_rows(self.train_h5, self.valid_h5, self.replay)

    @cached_property
    def start(self) -> WarmStart | None:
        """The earlier model that it goes on from."""
        path = self.train_config.start_from
        if path is None:
            return None
        return WarmStart.read(Path(path), self.model_config, FeatureMap.read(self.feature_map_json))

    @property
    def feature_map(self) -> FeatureMap:
        """The one fitted to its rows, or the earlier model's, extended by that."""
        return self.start.feature_map if self.start else FeatureMap.read(self.feature_map_json)

    def key(self, train: Table, valid: Table | None, *settings: Any) -> str:
        """A digest of all that the training depends on, and of `settings`, plain values."""
        # The number of processes changes only rounding and draws of dropout.
        train_config = asdict(replace(self.train_config, gpus=1, nodes=1, start_from=None))
        start = self.train_config.start_from
        inputs = [f"{table.identity} {table.rows}" for table in (train, valid) if table]
        inputs += [f"start {fingerprint(Path(start))}"] if start else []
        files = [self.feature_map_json, self.replay]
        inputs += [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file]
        values = [asdict(self.model_config), train_config, inputs, *settings]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def train(
    train_h5: list[Path],
    valid_h5: list[Path],
    feature_map: Path,
    settings: Settings,
    outputs: Mapping[str, Path],
    *,
    replay: Path | None = None,
    start_from: Path | None = None,
    full_name: str = "",
    runtime: Runtime,
    threads: int,
    code: Sequence[str] = (),
) -> None:
    """Train the model of these settings by block, see `train_model`."""
    network = ModelConfig.from_values(settings["model"], "model")
    training = TrainConfig.from_values(settings["train"], "train")
    if start_from:
        # The rule's path has the prefix of a workflow that imports this one.
        training = replace(training, start_from=str(start_from))
    run = TrainingRun(train_h5, valid_h5, feature_map, network, training, replay, full_name)
    train_model(run, outputs, runtime=runtime, threads=threads, code=code)


def train_model(
    run: TrainingRun,
    outputs: Mapping[str, Path],
    *,
    runtime: Runtime,
    threads: int = 1,
    code: Sequence[str] = (),
) -> None:
    """Train a model; write `outputs`: history (CSV), training (JSON), and, last, model.

    With `runtime.tensorboard`, event files are written into a folder `tensorboard` beside the
    model. Where `gpus` processes are to train on each of `nodes` machines, each on a GPU of its
    own, torchrun takes this process's place; processes that it has started join one another.

    The state is kept in a folder `training_state` beside the model. An interrupted training
    resumes from it if settings, data and `code`, digests of it, are the same, and ends like an
    uninterrupted one on the same machine.
    """
    processes, machines = run.train_config.gpus, run.train_config.nodes
    job = (run, outputs, runtime, threads, list(code))
    if in_group():
        end_with_launcher()
        # The others would log the same lines as the first.
        with joined() as ranks, only_errors(quiet=not ranks.is_first):
            _train(ranks, *job)
    elif processes * machines == 1:
        _train(Ranks(), *job)
    else:
        run_under_torchrun(processes, machines, threads)


def _train(
    ranks: Ranks,
    run: TrainingRun,
    outputs: Mapping[str, Path],
    runtime: Runtime,
    threads: int,
    code: list[str],
) -> None:
    machine = start_runtime(runtime, threads, ranks)
    feature_map = run.feature_map
    folder = outputs["model"].with_name("training_state")
    with ExitStack() as stack:
        if ranks.is_first:
            stack.enter_context(locked(folder, "is training this model already"))
        train, valid = stack.enter_context(opened(run, feature_map, machine))
        key = run.key(train.table, valid.table if valid else None, code)
        after_evaluation = None
        if runtime.tensorboard and ranks.is_first:
            rows_per_step = train.rows_per_epoch / train.batches_per_epoch
            curves = Curves(outputs["model"].with_name("tensorboard"), rows_per_step)
            after_evaluation = stack.enter_context(curves).add
        trainer = make_trainer(
            run,
            feature_map,
            (train, valid),
            machine,
            checkpoint=Checkpoint(folder, key),
            after_evaluation=after_evaluation,
            verbosity=runtime.verbosity,
        )
        trainer.fit()
        summary = _summary(trainer)
        if ranks.is_first:
            _write(outputs, run, trainer, feature_map, summary)


@contextmanager
def opened(run: TrainingRun, feature_map: FeatureMap, machine: Machine) -> Iterator[Sources]:
    """The rows to train on and to validate, None for a replay.

    Raises UserError if the files do not belong together.
    """
    with open_table(run.train_rows) as train, ExitStack() as stack:
        valid = None if run.replay else stack.enter_context(open_table(run.valid_h5))
        check_one_draw(feature_map, train, valid or train, run.full_name)
        yield make_sources(run, feature_map, train, valid, machine)


def make_sources(
    run: TrainingRun,
    feature_map: FeatureMap,
    train: Table,
    valid: Table | None,
    machine: Machine,
) -> Sources:
    """The batches of a training from open tables of train and validation rows."""
    model, training = run.model_config, run.train_config
    batches = batch_source(train, feature_map, model, training.batch_rows, training.negative_share)
    if valid is None:
        return batches, None
    return batches, inference_source(without_holdout(valid), feature_map, model, machine)


def make_trainer(
    run: TrainingRun,
    feature_map: FeatureMap,
    sources: Sources,
    machine: Machine,
    **options: Any,
) -> Trainer:
    """A trainer with seeded weights, and micro-batches that fit into memory; writes nothing.

    `options` are those of Trainer. Raises ImpossibleNetworkError for a network that is impossible.
    """
    train, valid = sources
    sizes = field_sizes(run.model_config, feature_map)
    start = run.start
    copies = copies_of(run.train_config)
    check_network(run.model_config, sizes, machine.memory(), copies)
    torch.manual_seed(run.train_config.seed)
    model = build_model(run.model_config, feature_map)
    if start:
        start.carry_into(model, train.table)
        logger.info("going on from %s", start.path)
    shift = math.log(train.kept_share) - math.log(run.train_config.pos_weight)
    model.observed_odds.shift.fill_(shift)
    if run.train_config.start_at_click_rate and not start:
        label = train.table.column("label")
        # Half a click more: a rate of 0 has no odds.
        model.start_at((label.sum() + 0.5) / (len(label) + 1))
    if train.table.source["simulated"]:
        logger.warning("training on SIMULATED data: this model knows nothing of real clicks")
    if model.time is not None:
        _warn_of_odd_times(model.time, next(train.in_order(0, train.batch_rows)))
    logger.info(
        "%s train rows, %s validation rows, max_len %d, %s parameters",
        f"{train.rows:,}" + (f" ({train.rows_per_epoch:,} an epoch)" if train.draw else ""),
        f"{valid.rows:,}" if valid else "no",
        run.model_config.max_len,
        f"{count_parameters(model):,}",
    )
    share_rows = -(-train.batch_rows // machine.ranks.count)
    micro_rows = micro_batch_rows(model, run.model_config, sizes, machine, share_rows, copies)
    if run.replay:
        options["replay"] = Replay.read(run.replay, train.batches_per_epoch)
    return Trainer(model, train, valid, run.train_config, machine, micro_rows=micro_rows, **options)


def _warn_of_odd_times(time: TimeEmbedding, batch: Batch) -> None:
    """Times of events and rows in different units give meaningless intervals."""
    assert batch.elapsed_T is not None, "a model with times needs a table with times"
    is_last_T = time.buckets(batch.elapsed_T) == time.last_bucket
    shares = {
        "later than their row": (batch.elapsed_T == 0).double().mean().item(),
        "in the last time bucket": is_last_T.double().mean().item(),
    }
    for what, share in shares.items():
        if share > _ODD_SHARE:
            logger.warning(
                "%.0f %% of the first %d rows' events are %s: do the times of events and rows have "
                "the same unit, and does model.time_log_base fit it?",
                100 * share,
                len(batch),
                what,
            )


def _write(
    outputs: Mapping[str, Path],
    run: TrainingRun,
    trainer: Trainer,
    feature_map: FeatureMap,
    summary: Mapping[str, Any],
) -> None:
    """Write all outputs, the model last."""
    _write_history(outputs["history"], trainer.history)
    settings = asdict(run.model_config) | asdict(run.train_config)
    write_json(outputs["training"], {**summary, "settings": settings})
    TrainedModel(
        trainer.model,
        run.model_config,
        feature_map,
        simulated=trainer.train.table.source["simulated"],
        click_rate=trainer.click_rate,
        full_name=run.full_name,
    ).save(outputs["model"])


def _write_history(path: Path, history: list[Evaluation]) -> None:
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(history[0])))
        writer.writeheader()
        writer.writerows(asdict(evaluation) for evaluation in history)


def _summary(trainer: Trainer) -> dict[str, Any]:
    """What training.json says; `samples_per_second` counts its evaluations' time too."""
    best = max(trainer.history, key=lambda evaluation: evaluation.monitor)
    seconds = trainer.history[-1].seconds
    return {
        "valid_auc": best.auc,
        "valid_logloss": best.logloss,
        "valid_monitor": best.monitor,
        # True: the metrics are those of another run, whose steps this one replayed on all rows.
        "refit": trainer.replay is not None,
        "best_epoch": best.epoch,
        "best_step": best.step,
        "learning_rate": asdict(trainer.learning_rate),
        "epochs": trainer.history[-1].epoch,
        "steps": trainer.step,
        "batch_rows": trainer.train.batch_rows,
        "train_rows": trainer.train.rows,
        "rows_per_epoch": trainer.train.rows_per_epoch,
        "valid_rows": trainer.valid.rows if trainer.valid else 0,
        "parameters": count_parameters(trainer.model),
        "seconds": seconds,
        "samples_per_second": trainer.step * trainer.train.batch_rows / max(seconds, 1e-9),
        # The largest of all processes, or GPUs.
        "peak_memory_bytes": trainer.ranks.largest(trainer.machine.peak_memory())[0],
        "processes": trainer.ranks.count,
        "device": str(trainer.machine.device),
        "precision": str(trainer.machine.precision).removeprefix("torch."),
        "micro_batch_rows": trainer.stepper.micro_rows,
        "simulated_data": trainer.train.table.source["simulated"],
    }
