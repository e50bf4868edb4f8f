"""Models of both families on a public table: MovieLens 100k with a time order.

    python benchmarks/public.py                    # on validation rows, to choose settings by
    python benchmarks/public.py --test             # on the newest fifth, to be looked at rarely
    python benchmarks/public.py --ablation --seeds 42 43 44

Runs the workflow on the table of `movielens.py`: FESeq as the briefing and as
config/leaderboard.yaml have it, a plain DIN, boosting, and blends. Without `--test`, the labels of
the newest fifth are in no file that is read. With it, that fifth judges alone: the rows before it
choose epochs, trees and weights.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import movielens
import numpy as np
import runs
import yaml
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from feseq.common.logits import mean_logit, sigmoid
from feseq.evaluate.intervals import Auc
from feseq.evaluate.valid_predictions import read_predictions

# The preset with shorter histories.
SHORT = "histories of 20"
VALID_SHARE = 0.15  # of the rows that are not the test's

BRIEFING = {
    "model": {
        "numerics": ["linear"],
        "scaling": "minmax",
        "shortcuts": False,
        "history_statistics": [],
        "levels": 0,
        "unknown_share": 0,
        "pooling": "mean",
        "embedding_std": 1e-4,
    },
}
DIN = {
    "interaction_layers": 0,
    "transformer_layers": 0,
    "item_interaction_layers": 0,
    "positions": False,
    "pooling": "weighted_sum",
    "score": "din",
}
# The preset with one part left out, or taken in from another of its networks.
ABLATION: dict[str, dict[str, Any]] = {
    "min-max for ranks": {"model": {"scaling": "minmax"}},
    "without plain values": {"model": {"numerics": ["buckets", "missing"]}},
    "without buckets": {"model": {"numerics": ["direct", "missing"]}},
    "without missing flags": {"model": {"numerics": ["direct", "buckets"]}},
    "without shortcuts": {"model": {"shortcuts": False}},
    "without crossing": {"model": {"crossing": 0}},
    "without the cross layer": {"model": {"mlp_cross_rank": 0}},
    "without history statistics": {"model": {"history_statistics": []}},
    "with levels": {"model": {"levels": 100}},
    "without unknown draws": {"model": {"unknown_share": 0}},
    "start values of 1e-4": {"model": {"embedding_std": 1e-4}},
    "weighted_sum pooling": {"model": {"pooling": "weighted_sum"}},
    "without weight decay": {"train": {"weight_decay": 0}},
    "a second moment for each weight": {"train": {"embedding_second_moment": "weight"}},
    "start at one half": {"train": {"start_at_click_rate": False}},
    "embeddings at the full rate": {"train": {"embedding_rate_factor": 1}},
    "without averaged weights": {"train": {"weight_average": 0}},
    "cuts for cosine": {"train": {"schedule": "plateau"}},
}
NETWORKS = ("leaderboard", "leaderboard_attention", "leaderboard_light")
BLENDS = (("leaderboard", "boosting"), (*NETWORKS[:2], "boosting"), (*NETWORKS, "boosting"))


def variants(options: argparse.Namespace, preset: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings on top of the size's by the model's name in the table."""
    leaderboard = preset["variants"]["leaderboard"]
    found = {
        "briefing": BRIEFING,
        "plain DIN": merged(BRIEFING, {"model": DIN}),
        **{name: block for name, block in preset["variants"].items() if "model" in block},
    }
    if options.ablation:
        found |= {name: merged(leaderboard, change) for name, change in ABLATION.items()}
        found[SHORT] = leaderboard
    return found


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Two variants, the second on top."""
    blocks = ("model", "train")
    return {block: {**settings.get(block, {}), **changes.get(block, {})} for block in blocks}


def config(variants: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What a run lays over config.yaml and the preset."""
    test = movielens.TEST_SHARE
    held_out = test + (1 - test) * VALID_SHARE
    seeded = {
        f"{key(name)}_seed{seed}": merged(block, {"train": {"seed": seed}})
        for name, block in variants.items()
        for seed in options.seeds
    }
    boosted = {f"seed{seed}": {"boosting": {"seed": seed}} for seed in options.seeds}
    return {
        "raw": {"source": "files", "train": "raw/train.parquet", "test": "raw/test.parquet"},
        "columns": movielens.columns(user_as_context=options.user_id),
        "sampling": {
            "split": {"time": "timestamp", "last": None, "group": None},
            "valid_share": held_out if options.test else VALID_SHARE,
            "holdout_share": test / held_out if options.test else 0,
        },
        "sizes": {
            "full": {
                "max_len": [20, 100],
                "submission_models": ["len100"],
                "submission_weights": None,
                "min_count": 1,
                "model": {
                    "embedding_dim": 16,
                    "interaction_layers": 1,
                    "transformer_layers": 1,
                    "heads": 2,
                    "mlp": [128, 64],
                },
                "train": {"batch_size": 256, "epochs": options.epochs},
            }
        },
        "variants": seeded | boosted,
    }


def key(name: str) -> str:
    """The name of a variant, as the config takes it."""
    return "".join(c if c.isalnum() else "_" for c in name.lower())


def model_name(name: str, seed: int, max_len: int) -> str:
    """The model's name in the workflow."""
    if name == "boosting":
        return f"boosting-seed{seed}"
    return f"len{20 if name == SHORT else max_len}-{key(name)}_seed{seed}"


class Judged:
    """Labels and log odds of the rows that judge."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.label = np.empty(0)

    def logit(self, model: str) -> np.ndarray:
        """Log odds [rows] of a model or baseline."""
        table = read_predictions(self.results / model / "valid_predictions.parquet")
        self.label = table["label"].to_numpy()
        return table["logit"].to_numpy()

    def seconds(self, model: str) -> float:
        """Time of the training."""
        return json.loads((self.results / model / "training.json").read_text())["seconds"]

    def figures(self, logit: np.ndarray) -> list[float]:
        """AUC, logloss, average precision."""
        probability = sigmoid(logit.astype(np.float64))
        return [
            roc_auc_score(self.label, logit),
            log_loss(self.label, probability),
            average_precision_score(self.label, logit),
        ]


def show(name: str, figures: Sequence[Sequence[float]], seconds: float | None = None) -> None:
    """A row of the table: means over the seeds, and each seed's AUC."""
    means = np.mean(figures, axis=0)
    aucs = " ".join(f"{auc:.4f}" for auc, *_ in figures)
    cells = [name, *(f"{mean:.4f}" for mean in means), aucs]
    print(f"| {' | '.join(cells)} | {'' if seconds is None else f'{seconds:.0f}'} |", flush=True)


def show_gains(label: np.ndarray, logits: Mapping[str, Sequence[np.ndarray]]) -> None:
    """By how much the AUC is above that of each of its parts, or of boosting, seed by seed."""
    print(
        "\n| model | above | difference of the AUCs by seed, and its 95 % interval |\n|---|---|---|"
    )
    for name in logits:
        for other in name.split(" + ") if " + " in name else {"boosting"} - {name}:
            found = []
            for one, two in zip(logits[name], logits[other]):
                entry = Auc.of(label, one).minus(Auc.of(label, two))
                found.append("{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**entry))
            print(f"| {name} | {other} | {', '.join(found)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--max_len", type=int, choices=(20, 100), default=100)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--test", action="store_true", help="judge on the newest fifth")
    parser.add_argument(
        "--user_id", action="store_true", help="the user, mostly a new one, as a category"
    )
    parser.add_argument("--ablation", action="store_true", help="the preset, a part left out")
    parser.add_argument("--only", nargs="+", help="names of models; default all")
    parser.add_argument("--folder", type=Path, help="keeps files for a later call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder = folder.resolve() / ("test" if options.test else "valid")
        movielens.write_raw(folder / "raw", with_test=options.test)
        compare(folder, options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Train what is missing and print the table."""
    preset = yaml.safe_load(runs.PRESET.read_text())
    networks = variants(options, preset)
    names = [name for name in [*networks, "boosting"] if name in (options.only or name)]
    models = {
        name: [model_name(name, seed, options.max_len) for seed in options.seeds] for name in names
    }
    baselines = ["constant", "logistic_regression"]
    needed = [model for seeds in models.values() for model in seeds] + baselines
    targets = [f"results/full/{model}/valid_predictions.parquet" for model in needed]
    runs.run(folder, config(networks, options), targets, options.cores)
    judged = Judged(folder / "results/full")
    print("| model | AUC | logloss | AP | AUC by seed | seconds |\n|---|---|---|---|---|---|")
    for name in baselines:
        show(name, [judged.figures(judged.logit(name))], judged.seconds(name))
    logits = {}
    for name, seeds in models.items():
        logits[name] = [judged.logit(model) for model in seeds]
        seconds = float(np.mean([judged.seconds(model) for model in seeds]))
        show(name, [judged.figures(logit) for logit in logits[name]], seconds)
    for blend in BLENDS:
        if set(blend) <= set(logits):
            equal = [1] * len(blend)
            mixed = [mean_logit(one, equal) for one in zip(*(logits[name] for name in blend))]
            logits[" + ".join(blend)] = mixed
            show(" + ".join(blend), [judged.figures(logit) for logit in mixed])
    if "boosting" in logits:
        show_gains(judged.label, logits)
    print(f"\n{len(judged.label):,} rows judge, {int(judged.label.sum()):,} of them liked")


if __name__ == "__main__":
    main()
