"""The preset with one part left out, on two tables unlike MovieLens: does any part do harm?

    python benchmarks/ablation.py --table no_histories
    python benchmarks/ablation.py --table rare --rows 500000

Both tables are the stand-in's. In the first, all histories are empty, and the preset's statistics
of them are left out. In the second, nine of ten clicks are taken back, which leaves one in 500
rows; an epoch has a tenth of the rows without one. The networks are small, as those of public.py.
AUC and average precision count by the true probabilities of the validation rows, so that few clicks
there add no error; what is left is the luck of a training, which the seeds show.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from public import ABLATION, merged
from quality import PRESET
from sklearn.metrics import average_precision_score

from feseq.boosting.prediction import predict_validation as predict_boosting
from feseq.boosting.training import train_boosting
from feseq.config.boosting import BoostingConfig
from feseq.config.catalog import size_settings
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.evaluate.auc import expected_auc
from feseq.evaluate.trained_model import predict_validation
from feseq.evaluate.valid_predictions import read_predictions
from feseq.model.device import start_runtime
from feseq.train.run import TrainingRun, train_model

KEPT_CLICKS = {"no_histories": 1.0, "rare": 0.1}
NEGATIVE_SHARE = {"no_histories": 1.0, "rare": 0.1}
SMALL = {
    "embedding_dim": 16,
    "interaction_layers": 1,
    "transformer_layers": 1,
    "heads": 2,
    "mlp": [128, 64],
}
BOOSTING = "boosting"


def make(folder: Path, options: argparse.Namespace) -> np.ndarray:
    """Write the H5 files and the feature map; the true probabilities of all rows."""
    data.simulate(folder, options.rows, options.mean_length)
    path, kept = folder / "train.parquet", KEPT_CLICKS[options.table]
    table = pq.read_table(path)
    if options.table == "no_histories":
        blank = pa.array([""] * len(table), table["seq"].type)
        table = table.set_column(table.column_names.index("seq"), "seq", blank)
    is_kept = np.random.default_rng(1).random(len(table)) < kept
    label = table["clicked"].to_numpy() * is_kept
    index = table.column_names.index("clicked")
    table = table.set_column(index, "clicked", pa.array(label, table["clicked"].type))
    pq.write_table(table, path)
    data.select(folder)
    data.train_to_h5(folder, 1)
    data.feature_map(folder, 1, Columns.from_config(PRESET["columns"]))
    return kept * pq.read_table(folder / "train_truth.parquet")["probability"].to_numpy()


def networks(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Settings of the preset's network, by what it goes without."""
    settings = size_settings(PRESET, "medium", "leaderboard")
    changes: dict[str, Any] = {
        "model": SMALL | {"max_len": options.max_len},
        "train": {
            "batch_size": 256,
            "min_steps_per_epoch": 1,
            "negative_share": NEGATIVE_SHARE[options.table],
        },
    }
    if options.table == "no_histories":
        changes["model"]["history_statistics"] = []
    preset = merged(settings, changes)
    left_out = {name: merged(preset, change) for name, change in ABLATION.items()}
    return {"the preset": preset} | {k: v for k, v in left_out.items() if v != preset}


def fit(folder: Path, settings: Mapping[str, Any] | None, seed: int) -> tuple[np.ndarray, ...]:
    """Train a network, or boosting, and predict the validation rows: row and logit [rows]."""
    outputs = {name: folder / name for name in ("model", "history", "training")}
    files = (folder / "train.h5", folder / "valid.h5", folder / "feature_map.json")
    predictions, runtime = folder / "predictions", Runtime(verbosity=0, device="cpu")
    if settings is None:
        config = BoostingConfig(**size_settings(PRESET, "medium")["boosting"] | {"seed": seed})
        train_boosting(*files, config, outputs, runtime=runtime, threads=1)
        predict_boosting(outputs["model"], files[1], predictions, folder / "speed", threads=1)
    else:
        train = TrainConfig(**settings["train"] | {"seed": seed})
        run = TrainingRun(*files, ModelConfig(**settings["model"]), train)
        train_model(run, outputs, runtime=runtime, threads=1)
        other = [folder / name for name in ("speed", "attention")]
        machine = start_runtime(runtime, 1)
        predict_validation(outputs["model"], files[1], predictions, *other, machine=machine)
    table = read_predictions(predictions)
    return table["row"].to_numpy(), table["logit"].to_numpy()


def figures(true: np.ndarray, row: np.ndarray, logit: np.ndarray) -> tuple[float, float]:
    """AUC and average precision where each row clicks as often as its true probability says."""
    p = true[row]
    label, weight = np.repeat([1, 0], len(p)), np.concatenate([p, 1 - p])
    precision = average_precision_score(label, np.tile(logit, 2), sample_weight=weight)
    return expected_auc(logit, p), precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=list(KEPT_CLICKS), required=True)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--mean_length", type=float, default=20)
    parser.add_argument("--max_len", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--only", nargs="+", help="names of models; default all")
    options = parser.parse_args()
    data.keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        true = make(folder, options)
        print("| without | AUC | AP | AUC by seed | AP by seed |\n|---|---|---|---|---|")
        for model, settings in {**networks(options), BOOSTING: None}.items():
            if model in (options.only or model):
                found = [figures(true, *fit(folder, settings, seed)) for seed in options.seeds]
                auc, precision = np.transpose(found)
                cells = [f"{auc.mean():.4f}", f"{precision.mean():.5f}"]
                cells += [" ".join(f"{value:.4f}" for value in auc)]
                cells += [" ".join(f"{value:.5f}" for value in precision)]
                print(f"| {model} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
