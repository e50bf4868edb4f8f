"""Other libraries' models for `public.py --peers`: AutoGluon; DIN, DCNv2, FinalNet of FuxiCTR.

Each library has its own environment, whose Python runs this file as a script:

    python -m venv autogluon
    autogluon/bin/pip install "autogluon.tabular[catboost,fastai,lightgbm,xgboost]==1.6.3"
    python -m venv fuxictr
    fuxictr/bin/pip install torch scikit-learn pandas pyarrow polars h5py tqdm PyYAML \\
        keras_preprocessing
    git clone https://github.com/reczoo/FuxiCTR && git -C FuxiCTR checkout 0245987  # 2.3.10
    python benchmarks/public.py --plain --autogluon autogluon/bin/python \\
        --fuxictr-python fuxictr/bin/python --fuxictr FuxiCTR \\
        --peers AutoGluon FuxiCTR-DIN FuxiCTR-DCNv2 FuxiCTR-FinalNet

FuxiCTR's wheel lacks the models, hence the checkout. All peers use numerics, categories of any
cardinality and history lengths. FuxiCTR's models also use the newest 50 events of each history; DIN
is left out for tables without histories. Peers choose settings by AUC on the rows that `plain.py`
holds out, and refit on all train rows. Seconds include the start of the process.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from tables import Table

PEERS = ("AutoGluon", "FuxiCTR-DIN", "FuxiCTR-DCNv2", "FuxiCTR-FinalNet")
NEWEST = 50  # events of a history
# FuxiCTR's settings to choose from by validation.
SETTINGS = [
    {"learning_rate": rate, "embedding_regularizer": regularizer}
    for rate, regularizer in ((1e-3, 1e-3), (3e-4, 1e-2), (1e-4, 1e-2))
]


def predict(
    peer: str, table: "Table", seed: int, options: argparse.Namespace, folder: Path
) -> tuple[np.ndarray, float]:
    """A peer's probabilities [test rows] and seconds. If it fails, exits with its output."""
    shutil.rmtree(folder, ignore_errors=True)  # libraries would reuse files in it
    meta = {"peer": peer, "seed": seed, "targets": write(table, folder), "cores": options.cores}
    meta |= {"seconds": options.autogluon_seconds, "fuxictr": str(options.fuxictr)}
    (folder / "meta.json").write_text(json.dumps(meta))
    start = time.perf_counter()
    python = options.autogluon if peer == "AutoGluon" else options.fuxictr_python
    command = [python, __file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return np.load(folder / "predictions.npy"), seconds


def write(table: "Table", folder: Path) -> dict[str, str]:
    """Write train.parquet and test.parquet; returns the target of each history.

    Columns are renamed, as libraries refuse some names: numerics n0, n1, …, categories c0, …,
    histories s0, …. Train rows also have `label` and `held_out`.
    """
    folder.mkdir(parents=True)
    groups = [table.columns["groups"][name] for name in table.columns["use"]]
    targets = {s: target for group in groups for s, target in group.get("sequences", {}).items()}
    categories = list(dict.fromkeys(table.categories()))
    for split, rows in {"train": table.train, "test": table.test}.items():
        numerics = [rows[name] for name in table.roles("numeric")]
        numerics += [rows[name].str.count(",") + (rows[name] != "") for name in targets]
        x: dict[str, Any] = {f"n{i}": column.astype("f4") for i, column in enumerate(numerics)}
        x |= {f"c{i}": _words(rows[name]) for i, name in enumerate(categories)}
        for i, name in enumerate(targets):
            x[f"s{i}"] = rows[name].str.rsplit(",", n=NEWEST).str[-NEWEST:].str.join(",")
        if split == "train":
            x |= {"label": rows[table.label].astype(int), "held_out": table.held_out(0.1)}
        pd.DataFrame(x).to_parquet(folder / f"{split}.parquet", index=False)
    return {f"s{i}": f"c{categories.index(name)}" for i, name in enumerate(targets.values())}


def _words(column: pd.Series) -> np.ndarray:
    """Categories as histories write them, such as 12 for 12.0; empty where missing."""
    codes, values = pd.factorize(column)
    texts = [f"{v:.15g}" if isinstance(v, float | np.floating) else str(v) for v in values]
    return np.array([*texts, ""], object)[codes]


def autogluon(options: argparse.Namespace) -> np.ndarray:
    """AutoGluon with the preset medium quality."""
    from autogluon.tabular import TabularPredictor

    train, test = (pd.read_parquet(options.folder / f"{s}.parquet") for s in ("train", "test"))
    for name in [name for name in test if name.startswith("c")]:
        values = sorted({*train[name], *test[name]})
        train[name], test[name] = (pd.Categorical(x[name], values) for x in (train, test))
    train, test = (x[[name for name in x if not name.startswith("s")]] for x in (train, test))
    held_out = train.pop("held_out")
    limits = {"time_limit": options.seconds, "num_cpus": options.cores, "num_gpus": 0}
    refit = {"refit_full": True, "set_best_to_refit_full": True}
    predictor = TabularPredictor("label", "binary", "roc_auc", path=options.folder / "autogluon")
    predictor.fit(train[~held_out], train[held_out], presets="medium_quality", **limits, **refit)
    print(predictor.leaderboard().to_string())
    return predictor.predict_proba(test)[1].to_numpy()


def _encode(options: argparse.Namespace, prefix: Path) -> int:
    """Write FuxiCTR's encoding of the rows (train, fit, valid, test) and its feature map.

    Returns the batch size; the last batch has more than one row, as BatchNorm needs.
    """
    vars(np)["unicode_"] = np.str_  # NumPy 1's name, which keras_preprocessing asks for
    from fuxictr.preprocess import FeatureProcessor, build_dataset
    from sklearn.preprocessing import QuantileTransformer

    parts = [pd.read_parquet(options.folder / f"{split}.parquet") for split in ("train", "test")]
    held_out = parts[0].pop("held_out")
    parts[1]["label"] = 0  # read, not used
    categories = [name for name in parts[1] if name.startswith("c")]
    for name in [name for name in parts[1] if name.startswith("n")]:
        ranks = QuantileTransformer(output_distribution="normal", random_state=options.seed)
        ranks.fit(parts[0][[name]])
        for x in parts:
            x[f"{name}_is_missing"] = x[name].isna().astype("f4")
            x[name] = np.nan_to_num(ranks.transform(x[[name]])[:, 0]).astype("f4")
    numerics = [name for name in parts[0] if name.startswith("n") and parts[0][name].nunique() > 1]
    columns: list[dict[str, Any]] = [{"name": numerics, "type": "numeric", "dtype": "float"}]
    columns += [{"name": name, "type": "categorical", "dtype": "str"} for name in categories]
    for name, target in options.targets.items():
        history = {"type": "sequence", "splitter": ",", "max_len": NEWEST, "dtype": "str"}
        columns.append({"name": name, "share_embedding": target, **history})
    columns = [column | {"active": True} for column in columns]
    paths = {f"{split}_data": f"{prefix}_{split}.parquet" for split in ("train", "test")}
    for x, path in zip(parts, paths.values(), strict=True):
        x.to_parquet(path, index=False)
    label = {"name": "label", "dtype": "float"}
    processor = FeatureProcessor(columns, label, prefix.name, str(prefix.parent))
    # Values seen once become out of vocabulary.
    build_dataset(processor, **paths, data_format="parquet", min_categr_count=2)
    train = pd.read_parquet(prefix / "train.parquet")
    train[~held_out].to_parquet(prefix / "fit.parquet", index=False)
    train[held_out].to_parquet(prefix / "valid.parquet", index=False)
    last = (len(train) - 1, (~held_out).sum() - 1)
    return next(n for n in count(max(256, len(train) // 400)) if all(i % n for i in last))


def fuxictr(options: argparse.Namespace) -> np.ndarray:
    """A FuxiCTR model, with the settings that have the best validation AUC."""
    sys.path[0] = options.fuxictr
    import torch
    import yaml
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.dataloaders import RankDataLoader
    from fuxictr.pytorch.torch_utils import seed_everything

    torch.set_num_threads(options.cores)
    prefix, name = options.folder / "fuxictr", options.peer.partition("-")[2]
    batch = _encode(options, prefix)
    config = Path(options.fuxictr, "model_zoo", name, "config/model_config.yaml")
    template = yaml.safe_load(config.read_text())
    params = template["Base"] | template[f"{name}_default"]
    params |= {"embedding_dim": 16, "monitor": "AUC", "verbose": 0, "num_workers": 0}
    params |= {"model_root": str(options.folder), "data_format": "parquet", "batch_size": batch}
    if name == "DIN":  # attention replaces the mean
        params["feature_specs"] = [{"name": s, "feature_encoder": None} for s in options.targets]
        params["din_sequence_field"] = [*options.targets]
        params["din_target_field"] = [*options.targets.values()]
    features = FeatureMap(prefix.name, str(prefix))
    features.load(str(prefix / "feature_map.json"), params)
    model_class = getattr(import_module(f"model_zoo.{name}.src"), name)

    def fit(rows: str, setting: dict[str, Any], follow: list[float]) -> tuple[Any, list[float]]:
        """A model, and the learning rates of its epochs up to the best one."""
        rates: list[float] = []

        class Model(model_class):
            def train_epoch(self, batches: Any) -> None:
                group = self.optimizer.param_groups[0]
                group["lr"] = follow[len(rates)] if follow else group["lr"]
                rates.append(group["lr"])
                super().train_epoch(batches)

        seed_everything(options.seed)
        model = Model(features, **params | setting)
        paths = (str(prefix / rows), str(prefix / "valid"))
        train, valid = RankDataLoader(features, "train", *paths, **params).make_iterator()
        model.fit(train, validation_data=valid, epochs=len(follow) or params["epochs"])
        return model, rates[: len(rates) - model._stopping_steps]

    models, rates = zip(*(fit("fit", setting, []) for setting in SETTINGS), strict=True)
    aucs = [model._best_metric for model in models]
    print(*zip(SETTINGS, aucs, rates, strict=True), sep="\n")
    best = int(np.argmax(aucs))
    # FuxiCTR lowers the rate and stops by validation rows, but these are now train rows.
    whole = {"early_stop_patience": np.inf, "save_best_only": False}
    final, _ = fit("train", SETTINGS[best] | whole, rates[best])
    test = RankDataLoader(features, "test", test_data=str(prefix / "test"), **params)
    return final.predict(test.make_iterator())


def main(folder: Path) -> None:
    """Write predictions.npy."""
    options = argparse.Namespace(**json.loads((folder / "meta.json").read_text()), folder=folder)
    probability = autogluon(options) if options.peer == "AutoGluon" else fuxictr(options)
    np.save(folder / "predictions.npy", probability)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
