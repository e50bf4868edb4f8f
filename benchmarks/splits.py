"""How well the validation figure of each split foretells the test: its level, and its ranking.

    python benchmarks/splits.py --rows 40000 --test_rows 20000

On the stand-in, whose test is the day after the train days, and on MovieLens 100k, whose test is
its newest fifth. For each split of `sampling.split`, models of unlike settings are trained on the
train rows and judged on the validation rows and on the test; then it prints how far the validation
AUC is above the test's on average, and Spearman's correlation of the two over the models. The
stand-in's test is judged by its true probabilities, which has no noise of drawn clicks.
"""

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import data
import movielens
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from feseq.boosting.model_file import BoostedModel
from feseq.boosting.prediction import predict_logits
from feseq.boosting.training import train_boosting
from feseq.config.boosting import BoostingConfig
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.sampling import Sampling, Split
from feseq.config.train import TrainConfig
from feseq.dataset.conversion import convert_test
from feseq.dataset.feature_map import fit_feature_map
from feseq.dataset.store import H5Table
from feseq.model.device import start_runtime
from feseq.predict.model_file import TrainedModel
from feseq.raw.simulation import simulate_split
from feseq.train.run import TrainingRun, train_model

NETWORK: dict[str, Any] = {
    **{"max_len": 20, "embedding_dim": 8, "interaction_layers": 1, "transformer_layers": 1},
    **{"heads": 1, "mlp": [32]},
}
TRAINING: dict[str, Any] = {
    **{"batch_size": 512, "epochs": 2, "min_steps_per_epoch": 1, "learning_rate": 3e-3},
}
# Changes to these for each FESeq model, and the settings of each boosting.
FESEQ: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "briefing": ({}, {}),
    "weighted sum": ({"pooling": "weighted_sum"}, {}),
    "piecewise numerics": ({"numerics": ["piecewise"], "scaling": "quantile"}, {}),
    "one slow epoch": ({}, {"epochs": 1, "learning_rate": 3e-4}),
    "four fast epochs": ({"embedding_std": 0.1}, {"epochs": 4, "learning_rate": 1e-2}),
}
BOOSTING: dict[str, dict[str, Any]] = {
    "boosting": {},
    "stumps": {"max_depth": 1, "learning_rate": 0.3},
    "deep trees": {"max_depth": 12, "min_child_weight": 1, "l2": 0},
    "no histories": {"histories": False},
    "clicks without smoothing": {"smoothing": 0.001, "folds": 2},
    "clicks smoothed away": {"smoothing": 1e6},
    "slow": {"learning_rate": 0.01},
    "fast": {"learning_rate": 0.8},
    "groups for codes": {"top_codes": 0, "bag": 50},
}
TREES: dict[str, Any] = {"trees": 80, "learning_rate": 0.1, "max_bins": 64}


def make_stand_in(folder: Path, rows: int, test_rows: int) -> Columns:
    """Raw files of the stand-in, and `target.npy`: the test rows' true probabilities."""
    for split, count in (("train", rows), ("test", test_rows)):
        files = folder / f"{split}.parquet", folder / f"{split}_truth.parquet"
        simulate_split(*files, split=split, rows=count, mean_length=20, seed=7, train_rows=rows)
    truth = pq.read_table(folder / "test_truth.parquet", columns=["probability"])
    np.save(folder / "target.npy", truth["probability"].to_numpy())
    return data.COLUMNS


def make_movielens(folder: Path, *_: int) -> Columns:
    """Raw files of MovieLens, its users as text, and `target.npy`: the test rows' labels."""
    movielens.write_raw(folder)
    for name in ("train", "test"):
        table = pd.read_parquet(folder / f"{name}.parquet")
        table.assign(who=table["user"].astype(int).astype(str)).to_parquet(
            folder / f"{name}.parquet", index=False
        )
    truth = pq.read_table(folder / "truth.parquet", columns=["liked"])
    np.save(folder / "target.npy", truth["liked"].to_numpy())
    return Columns.from_config(movielens.COLUMNS)


# By table: how it is made, and the splits of it.
TABLES = {
    "stand-in": (make_stand_in, {"time": "day_of_week", "last": 1}, "seq"),
    "MovieLens 100k": (make_movielens, {"time": "timestamp"}, "who"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--test_rows", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--feseq", nargs="*", choices=FESEQ, default=list(FESEQ))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    data.keep_freed_memory()
    logging.disable(logging.WARNING)
    lines, details = [], []
    for table in options.tables:
        make, time_split, group = TABLES[table]
        splits = {
            "random": Split(),
            "time": Split(**time_split),
            "group": Split(group=group),
            "time and group": Split(**time_split, group=group),
        }
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            columns = make(folder, options.rows, options.test_rows)
            test = folder / "test.h5"
            convert_test(folder / "test.parquet", columns, test)
            for kind, split in splits.items():
                found, rows, clicks = judge(folder, columns, split, options)
                valid, tested = np.array(list(found.values())).T
                rank = spearmanr(valid, tested).statistic
                lines.append(
                    f"| {table} | {kind} | {rows:,} | {clicks:,} | {valid.mean():.4f} | "
                    f"{tested.mean():.4f} | {(valid - tested).mean():+.4f} | {rank:.2f} |"
                )
                details += [
                    f"| {table} | {kind} | {m} | {v:.4f} | {t:.4f} |" for m, (v, t) in found.items()
                ]
    print("| table | split | validation rows | clicks | validation AUC | test AUC | above | rank |")
    print("|---|---|---|---|---|---|---|---|", *lines, sep="\n")
    print("\n| table | split | model | validation AUC | test AUC |\n|---|---|---|---|---|")
    print(*details, sep="\n")


def judge(
    folder: Path, columns: Columns, split: Split, options: argparse.Namespace
) -> tuple[dict[str, tuple[float, float]], int, int]:
    """Validation and test AUC by model, and the validation rows and clicks of a split."""
    threads = options.threads
    train, valid, test = (folder / f"{name}.h5" for name in ("train", "valid", "test"))
    sampling = Sampling(split=split, valid_share=0.15)
    data.convert(folder / "train.parquet", folder, columns, sampling, threads)
    feature_map = folder / "feature_map.json"
    fit_feature_map(train, columns, 2).write(feature_map)
    runtime, machine = (
        Runtime(device="cpu", verbosity=0),
        start_runtime(Runtime(device="cpu"), threads),
    )
    outputs = {name: folder / name for name in ("history", "training", "model")}
    found = {}
    for model in options.feseq:
        network, training = FESEQ[model]
        settings = ModelConfig(**(NETWORK | network)), TrainConfig(**(TRAINING | training))
        started = time.perf_counter()
        run = TrainingRun(train, valid, feature_map, *settings)
        train_model(run, outputs, runtime=runtime, threads=threads)
        trained = TrainedModel.load(outputs["model"])
        with trained.source(test, machine).table:
            logit = trained.predict(trained.source(test, machine), machine)
        found[model] = valid_auc(outputs), auc(folder, logit)
        tell(split, model, found[model], started)
    for model, changes in BOOSTING.items():
        started = time.perf_counter()
        config = BoostingConfig(**(TREES | changes))
        train_boosting(train, valid, feature_map, config, outputs, runtime=runtime, threads=threads)
        with H5Table(test) as table:
            logit = predict_logits(BoostedModel.load(outputs["model"]), table, threads=threads)
        found[model] = valid_auc(outputs), auc(folder, logit)
        tell(split, model, found[model], started)
    with H5Table(valid) as table:
        return found, table.rows, int(table.column("label").sum())


def valid_auc(outputs: dict[str, Path]) -> float:
    """What the training says of its best weights."""
    return json.loads(outputs["training"].read_text())["valid_auc"]


def auc(folder: Path, logit: np.ndarray) -> float:
    """AUC of the test rows, each a click with its target's probability."""
    target = np.load(folder / "target.npy").astype(float)
    weight = np.concatenate([target, 1 - target])
    label = np.repeat([1, 0], len(target))
    return roc_auc_score(label, np.tile(logit, 2), sample_weight=weight)


def tell(split: Split, model: str, aucs: tuple[float, float], started: float) -> None:
    """A line of progress."""
    seconds = time.perf_counter() - started
    print(f"# {split} {model}: {aucs[0]:.4f} {aucs[1]:.4f} in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
