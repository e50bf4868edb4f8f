"""The default config on several tables, compared with plain scripts.

    pip install lightgbm==4.7.0
    python benchmarks/public.py --seeds 42 43 44                  # on train rows, to choose by
    python benchmarks/public.py --seeds 42 43 44 --test           # on test rows, to look at once
    python benchmarks/public.py --scripts --also mine.yaml        # beside the default: mine.yaml
    python benchmarks/public.py --tables movielens --ablation     # FESeq, a part left out
    python benchmarks/public.py --plain --peers AutoGluon ...     # rivals, as peers.py says
    python benchmarks/public.py --test --tables stand-in --rows 1000000

Runs the workflow on each table of `tables.py` as a new user would: a network and boosting,
refitted, and their blend (if `--models` has both), and the scripts of `plain.py`. Without `--test`,
a fifth of the train rows, split off like the test, replaces the test. The stand-in and the shop are
measured by their true probabilities. Intervals come from 200 paired bootstrap draws of the rows, or
of whole groups if no test group has train rows.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peers
import runs
import yaml
from plain import SCRIPTS
from scipy.special import expit
from scipy.special import logit as logit_of
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from snakemake.utils import update_config
from tables import TABLES, Table

from tossctr.evaluate.metric_table import mean_metric

# The default config's models and its baselines, by their names in the workflow.
SUBMITTED = {"FESeq": "len150", "boosting": "boosting"}
MODELS = SUBMITTED | {
    "boosting-plain": "boosting-plain",
    "DIN": "len150-din",
    "DCN-v2": "len150-dcnv2",
}
DRAWS = 200
# Statistics that use only a history's codes.
CODE_STATISTICS = ["length", "distinct", "entropy", "newest"]
# A network with one part left out or replaced.
ABLATION: dict[str, dict[str, Any]] = {
    "min-max for ranks": {"model": {"scaling": "minmax"}},
    "without plain values": {"model": {"numerics": ["buckets", "missing"]}},
    "without buckets": {"model": {"numerics": ["direct", "missing"]}},
    "without missing flags": {"model": {"numerics": ["direct", "buckets"]}},
    "without pooled_history": {"model": {"pooled_history": False}},
    "without the gate": {"model": {"history_gate": False}},
    "without the cross layer": {"model": {"mlp_cross_rank": 0}},
    "without history statistics": {"model": {"history_statistics": []}},
    "without times, item attributes": {
        "model": {"history_statistics": [*CODE_STATISTICS, "similarities"]}
    },
    "without similarities": {
        "model": {"history_statistics": [*CODE_STATISTICS, "times", "item_attributes"]}
    },
    "without times, item attributes, similarities": {
        "model": {"history_statistics": CODE_STATISTICS}
    },
    "without unknown draws": {"model": {"oov_rate": 0}},
    "start values of 1e-4": {"model": {"embedding_std": 1e-4}},
    "weighted_sum pooling": {"model": {"pooling": "weighted_sum"}},
    "without weight decay": {"train": {"weight_decay": 0}},
    "a second moment for each weight": {"train": {"embedding_second_moment": "weight"}},
    "start at one half": {"train": {"start_at_click_rate": False}},
    "embeddings at the full rate": {"train": {"embedding_rate_factor": 1}},
    "without averaged weights": {"train": {"weight_average": 0}},
    "cuts for cosine": {"train": {"schedule": "plateau"}},
}


class Judge:
    """Metrics of predicted probabilities [rows]; `chance` is each row's true click probability.

    A chance of 0 or 1 is a label. With any other, a row counts twice, as a click and as a negative,
    weighted by the chance. Intervals resample the rows' `groups` [rows], such as users; without
    groups, the rows.
    """

    def __init__(self, chance: np.ndarray, groups: pd.Series | None = None) -> None:
        self.chance = chance
        units = np.arange(len(chance)) if groups is None else groups.to_numpy()
        self.unit = np.unique(units, return_inverse=True)[1]
        self.label = np.repeat([1, 0], len(chance))
        self.weight = np.concatenate([chance, 1 - chance])

    def metrics(self, probability: np.ndarray) -> list[float]:
        """AUC, average precision, logloss of probabilities [rows]."""
        twice = np.tile(probability.astype(np.float64), 2)
        metrics = (roc_auc_score, average_precision_score, log_loss)
        return [metric(self.label, twice, sample_weight=self.weight) for metric in metrics]

    def score(self, probability: np.ndarray, click_rate: float) -> float:
        """The competition's score at 50:50 odds, `click_rate` being the train rows'."""
        certain = np.finfo(np.float32).eps  # some models predict 0 or 1
        logit = logit_of(np.clip(probability, certain, 1 - certain, dtype=np.float64))
        return mean_metric("balanced_score", logit, self.chance, click_rate)

    def difference(self, one: np.ndarray, two: np.ndarray) -> str:
        """The AUC of `one` minus the AUC of `two`, with its 95 % confidence interval."""
        rng = np.random.default_rng(0)
        gains = []
        for draw in range(DRAWS + 1):
            times = rng.poisson(1, self.unit.max() + 1) if draw else np.ones(self.unit.max() + 1)
            weight = self.weight * np.tile(times[self.unit], 2)
            aucs = (
                roc_auc_score(self.label, np.tile(p, 2), sample_weight=weight) for p in (one, two)
            )
            gains.append(next(aucs) - next(aucs))
        low, high = np.quantile(gains[1:], [0.025, 0.975])
        return f"{gains[0]:+.4f} [{low:+.4f}, {high:+.4f}]"


def settings(table: Table, seed: int, parts: Sequence[str] = ()) -> dict[str, Any]:
    """The overrides of the default config, with a variant for each of the `parts` to leave out."""
    return {
        "table": {
            "raw": {"train": "raw/train.parquet", "test": "raw/test.parquet"},
            "columns": table.columns | {"time": None, "group": None} | table.split,
            "score": table.score,
        },
        "train": {"seed": seed},
        "boosting": {"seed": seed},
        "variants": {key(part): ABLATION[part] for part in parts},
    }


def key(name: str) -> str:
    """A variant's name in the config."""
    return "".join(c if c.isalnum() else "_" for c in name.lower())


def ours(
    folder: Path,
    table: Table,
    seed: int,
    options: argparse.Namespace,
) -> dict[str, tuple[np.ndarray, float]]:
    """Probabilities [test rows] and seconds of training of each of the workflow's models.

    With `--also`, the models are repeated with each of these configs as overrides, and named by its
    file. Models whose settings did not change are not retrained.
    """
    models = {name: MODELS[name] for name in options.models}
    parts = options.parts if options.ablation else []
    models |= {part: f"len150-{key(part)}" for part in parts}
    table.write(folder / "raw")
    pairs: dict[str, tuple[np.ndarray, float]] = {}
    for path in (None, *options.also):
        changes = settings(table, seed, parts)
        if path:
            update_config(changes, yaml.safe_load(path.read_text()))
        one = trained(folder, table, changes, models, options.cores)
        pairs |= {f"{name}, {path.stem}" if path else name: pair for name, pair in one.items()}
    return pairs


def trained(
    folder: Path, table: Table, changes: dict[str, Any], models: Mapping[str, str], cores: int
) -> dict[str, tuple[np.ndarray, float]]:
    """`ours` for one config: the models, and the blend if they include all models that submit."""
    results, submission = Path("results/full"), "results/submission_full.csv"
    files = {n: results / model / "predictions/part000.parquet" for n, model in models.items()}
    has_blend = {*models} >= {*SUBMITTED}
    targets = [*map(str, files.values()), *([submission] if has_blend else [])]
    config = yaml.safe_load(runs.CONFIG.read_text())
    update_config(config, changes)
    fits = ("", "refit") if config["submission"]["refit"] else ("",)
    runs.run(folder, changes, targets, cores)
    pairs = {}
    for name, model in models.items():
        logit = pd.read_parquet(folder / files[name])["logit"].to_numpy(np.float64)
        trainings = [folder / results / model / fit / "training.json" for fit in fits]
        seconds = sum(json.loads(path.read_text())["seconds"] for path in trainings)
        pairs[name] = (expit(logit), seconds)
    if not has_blend:
        return pairs
    blend = pd.read_csv(folder / submission)[table.label].to_numpy()
    submit = config["sizes"]["full"]["submission_models"]
    seconds = sum(pairs[name][1] for name in models if models[name] in submit)
    if table.score == "toss":  # submitted at 50:50 odds
        blend = expit(logit_of(blend) + logit_of(table.train[table.label].mean()))
    return pairs | {"blend": (blend, seconds)}


def timed(script: Callable[..., np.ndarray], table: Table, seed: int) -> tuple[np.ndarray, float]:
    """A script's probabilities, and its seconds."""
    start = time.perf_counter()
    return script(table, seed), time.perf_counter() - start


def compare(name: str, table: Table, options: argparse.Namespace, folder: Path) -> None:
    """Print the table of all models, and their gains over the best plain script.

    In an ablation, gains are over the whole network; without scripts, over the blend, or if there
    is none over the best model.
    """
    group = table.split.get("group")
    judge = Judge(table.chance, table.test[group] if group else None)
    found: dict[str, list[tuple[np.ndarray, float]]] = {}
    for seed in options.seeds:
        one = {script: timed(SCRIPTS[script], table, seed) for script in options.scripts}
        for peer in options.peers:
            if peer != "FuxiCTR-DIN" or table.roles("sequences"):
                one[peer] = peers.predict(peer, table, seed, options, folder / f"{peer}{seed}")
        if not options.plain:
            one |= ours(folder / f"seed{seed}", table, seed, options)
        for model, pair in one.items():
            found.setdefault(model, []).append(pair)
    clicks = f"{table.train[table.label].sum():,} clicks"
    judged = f"{len(table.test):,} judge"
    if table.truth != table.label:
        judged += f", best possible AUC {judge.metrics(table.chance)[0]:.4f}"
    print(f"\n## {name}: {len(table.train):,} rows, {clicks}; {judged}\n")
    print("| model | AUC | by seed | AP | logloss | score by seed | s |")
    print("|---|---|---|---|---|---|---|")
    means, click_rate = {}, table.train[table.label].mean()
    for model, pairs in found.items():
        metrics = np.array([judge.metrics(probability) for probability, _ in pairs])
        means[model], ap, loss = metrics.mean(0)
        seeds = " ".join(f"{auc:.4f}" for auc in metrics[:, 0])
        scores = ""
        if table.score == "toss":
            scores = " ".join(f"{judge.score(each, click_rate):.4f}" for each, _ in pairs)
        seconds = f"{np.mean([s for _, s in pairs]):.0f}"
        metric = f"{means[model]:.4f} | {seeds} | {ap:.4f} | {loss:.4f} | {scores}"
        print(f"| {model} | {metric} | {seconds} |")
    best = max(options.scripts or found, key=lambda name: means[name])
    is_blend = "blend" in found and not options.scripts
    reference = "FESeq" if options.ablation else "blend" if is_blend else best
    print(f"\n| model | AUC above {reference}, by seed |\n|---|---|")
    for model in (name for name in found if name != reference):
        pairs = zip(found[model], found[reference], strict=True)
        gains = [judge.difference(mine[0], plain[0]) for mine, plain in pairs]
        print(f"| {model} | {', '.join(gains)} |", flush=True)


def check_peers(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with an argparse error if the chosen peers lack an interpreter or the checkout."""
    for peer in options.peers:
        name = "autogluon" if peer == "AutoGluon" else "fuxictr_python"
        python, option = getattr(options, name), f"--{name.replace('_', '-')}"
        if not python:
            parser.error(f"{peer} needs {option} PYTHON; peers.py says how")
        if not shutil.which(python):
            parser.error(f"{option} {python}: no such program")
        source = Path(options.fuxictr or "", "model_zoo", peer.partition("-")[2], "src")
        if peer != "AutoGluon" and not source.is_dir():
            parser.error(f"{peer} needs --fuxictr CHECKOUT with {source}; peers.py says how")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--scripts", nargs="*", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(SUBMITTED))
    parser.add_argument("--rows", type=int, help="train rows of the stand-in; a fifth as many test")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--also", type=Path, nargs="+", default=[], help="our models again, with each config on top"
    )
    parser.add_argument("--test", action="store_true", help="measure on the test rows")
    parser.add_argument("--plain", action="store_true", help="no models of the workflow")
    parser.add_argument("--ablation", action="store_true", help="leave out parts; no scripts")
    parser.add_argument(
        "--parts", nargs="+", choices=ABLATION, default=list(ABLATION), help="for --ablation"
    )
    parser.add_argument("--folder", type=Path, help="kept for a later call")
    parser.add_argument("--peers", nargs="+", choices=peers.PEERS, default=[], help="see peers.py")
    parser.add_argument("--autogluon", metavar="PYTHON", help="a Python that has AutoGluon")
    parser.add_argument("--autogluon-seconds", type=int, default=300, help="time limit of its fits")
    parser.add_argument("--fuxictr-python", metavar="PYTHON", help="a Python for FuxiCTR")
    parser.add_argument("--fuxictr", type=Path, metavar="CHECKOUT", help="of reczoo/FuxiCTR")
    options = parser.parse_args()
    if options.ablation:
        if options.plain:
            parser.error("--ablation needs our networks: omit --plain")
        options.models, options.scripts = ["FESeq"], []
    if options.also and options.plain:
        parser.error("--also needs our models: omit --plain")
    if len({path.stem for path in options.also}) < len(options.also):
        parser.error("--also: results are named by the files, so file names must differ")
    if options.rows and not all(name.startswith("stand-in") for name in options.tables):
        parser.error("--rows is only for the stand-in: use --tables stand-in")
    check_peers(parser, options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        for name in options.tables:
            is_simulated = name.startswith("stand-in")
            table = TABLES[name](options.rows) if is_simulated else TABLES[name]()
            table = table if options.test else table.inner()
            rows = "test" if options.test else "inner"
            compare(name, table, options, folder / key(name) / rows)


if __name__ == "__main__":
    main()
