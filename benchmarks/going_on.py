"""A model retrained from scratch, continued on a day's rows, and left as it was, on the next day.

    python benchmarks/going_on.py --rows 60000

The stand-in's train rows are of the days before its test rows. `left` is trained on all train days
but the last one; `continued` goes on from it with the rows of that day; `retrained` has all days.
Each is judged on the test day by the rows' true probabilities, which have no noise of drawn clicks.
Seconds are those of the processor, for the training with its evaluations. `new codes` are the
categories and tokens that the continued model has on top.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import data
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import splits
from sklearn.metrics import log_loss

from feseq.common.logits import sigmoid
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.sampling import Sampling
from feseq.config.train import TrainConfig
from feseq.dataset.conversion import convert_test
from feseq.dataset.feature_map import FeatureMap, fit_feature_map
from feseq.dataset.store import H5Table
from feseq.model.device import start_runtime
from feseq.predict.model_file import TrainedModel
from feseq.train.run import TrainingRun, train_model

MODEL = ModelConfig(**splits.NETWORK)
TRAINING = TrainConfig(**(splits.TRAINING | {"epochs": 4, "schedule": "cosine", "patience": 99}))
# The rows of one day take fewer steps, at a lower rate.
CONTINUED = replace(TRAINING, epochs=2, learning_rate=1e-3)


def make_days(folder: Path, rows: int, test_rows: int) -> dict[str, Path]:
    """Folders of H5 files with the rows of the older days, of the last one, and of all."""
    splits.make_stand_in(folder, rows, test_rows)
    table = pq.read_table(folder / "train.parquet")
    day = pc.cast(table["day_of_week"], "int64").to_numpy()
    chosen = {"left": day < day.max(), "continued": day == day.max(), "retrained": day > 0}
    for name, is_in in chosen.items():
        place = folder / name
        place.mkdir()
        pq.write_table(table.filter(is_in), place / "raw.parquet")
        sampling = Sampling(valid_share=0.1, seed=1)
        data.convert(place / "raw.parquet", place, data.COLUMNS, sampling, threads=1)
        fit_feature_map(place / "train.h5", data.COLUMNS, 2).write(place / "feature_map.json")
    convert_test(folder / "test.parquet", data.COLUMNS, folder / "test.h5")
    return {name: folder / name for name in chosen}


def trained(place: Path, out: Path, config: TrainConfig, threads: int) -> float:
    """Train into `out`; processor seconds."""
    out.mkdir()
    files = (place / name for name in ("train.h5", "valid.h5", "feature_map.json"))
    outputs = {name: out / name for name in ("history", "training", "model")}
    started = time.process_time()
    train_model(
        TrainingRun(*files, MODEL, config),
        outputs,
        runtime=Runtime(device="cpu", verbosity=0),
        threads=threads,
    )
    return time.process_time() - started


def judged(folder: Path, model: Path, threads: int) -> tuple[float, float]:
    """AUC and logloss of the test day."""
    machine = start_runtime(Runtime(device="cpu"), threads)
    found = TrainedModel.load(model)
    logit = found.predict(found.source(folder / "test.h5", machine), machine)
    target = np.load(folder / "target.npy").astype(float)
    weight = np.concatenate([target, 1 - target])
    label = np.repeat([1, 0], len(target))
    loss = log_loss(label, np.tile(sigmoid(logit), 2), sample_weight=weight)
    return splits.auc(folder, logit), loss


def codes(found: FeatureMap) -> int:
    """Categories and tokens that have an index."""
    fields = (*found.profile, *found.targets, *found.sequences, *found.context)
    return sum(field.size for field in fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--test_rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    data.keep_freed_memory()
    found: dict[str, list[tuple[float, ...]]] = {"left": [], "continued": [], "retrained": []}
    added: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = make_days(folder, options.rows, options.test_rows)
        rows = {name: count_rows(place) for name, place in days.items()}
        clicks = np.load(folder / "target.npy").sum()
        for seed in options.seeds:
            outs = {name: folder / f"{name}{seed}" for name in days}
            older = str(outs["left"] / "model")
            settings: Mapping[str, TrainConfig] = {
                "left": replace(TRAINING, seed=seed),
                "continued": replace(CONTINUED, seed=seed, start_from=older),
                "retrained": replace(TRAINING, seed=seed),
            }
            for name, config in settings.items():
                seconds = trained(days[name], outs[name], config, options.threads)
                figures = judged(folder, outs[name] / "model", options.threads)
                found[name].append((*figures, seconds))
                print(f"# seed {seed} {name}: {figures[0]:.4f} {figures[1]:.5f}", flush=True)
            maps = [TrainedModel.load(outs[n] / "model").feature_map for n in ("continued", "left")]
            added.append(codes(maps[0]) - codes(maps[1]))
    print(f"test: {options.test_rows:,} rows, {clicks:,.0f} clicks; new codes: {added[0]}\n")
    print("| model | train rows | AUC | logloss | CPU s |\n|---|---|---|---|---|")
    for name, values in found.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
        print(
            f"| {name} | {rows[name]:,} | {mean[0]:.4f} ± {spread[0]:.4f} | "
            f"{mean[1]:.5f} ± {spread[1]:.5f} | {mean[2]:.1f} |"
        )


def count_rows(place: Path) -> int:
    """Rows of a folder's train.h5."""
    with H5Table(place / "train.h5") as table:
        return table.rows


if __name__ == "__main__":
    main()
