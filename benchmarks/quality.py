"""How much of what can be learned each model learns, on simulated clicks of known probability.

    python benchmarks/quality.py --rows 500000 --seeds 42 43 44

Runs the workflow on a stand-in of so many train rows: the default network, the briefing's, the
paper's, the other variants, boosting, and the baselines. Prints the AUC of held-out rows that chose
nothing by their true probabilities, to which the number of clicks adds no error, for each seed, and
the mean share of what the true probabilities reach. `--ablation` changes one part of the paper's
network at a time (its Tables 4 to 10). `--bags` grows trees on all clicks and a share of the other
rows. `--shares 1 0.25` trains the `light` network and boosting on such shares.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import runs
import yaml

BASELINES = ("constant", "logistic_regression")
# Changes to the paper's settings.
ABLATION: dict[str, dict[str, Any]] = {
    "without_interacting_layers": {"interaction_layers": 0, "item_interaction_layers": 0},
    "crossnetv2_for_autoint": {"interaction": "crossnetv2"},
    "without_positions": {"positions": False},
    "not_causal": {"causal": False},
    "target_pooling": {"pooling": "target"},
    "mean_pooling": {"pooling": "mean"},
    "dot_scores": {"score": "dot"},
    "unscaled_scores": {"scaled_scores": False},
    "with_layer_norm": {"layer_norm": True},
}
# Shares of the rows without a click, and bags, of boosting with one and the same features.
BAGS = {
    f"share{str(share).replace('.', '_')}_bags{bags}": {
        "boosting": {
            "negative_share": share,
            "bags": bags,
            "features": ["histories", "clicks"],
        }
    }
    for share, bags in [(1, 1), (0.25, 1), (0.25, 5), (0.1, 1), (0.1, 3), (0.1, 5), (0.04, 5)]
}


def networks(ablation: bool) -> dict[str, Any]:
    """The networks' settings by name: the default, the variants, and the paper's part by part."""
    variants = yaml.safe_load(runs.CONFIG.read_text())["variants"]
    by_name: dict[str, Any] = {"default": {}}
    by_name |= {name: block for name, block in variants.items() if "model" in block}
    if ablation:
        paper = by_name["feseq_paper"]
        by_name |= {
            f"paper_{name}": {**paper, "model": {**paper["model"], **change}}
            for name, change in ABLATION.items()
        }
    return by_name


def show(name: str, metrics: list[Mapping[str, Any]], trainings: list[Mapping[str, Any]]) -> None:
    """A row of the table, from the metrics and trainings of each seed."""
    aucs = [metric["expected_auc"] for metric in metrics]
    share = np.mean([metric["share_of_best"] for metric in metrics])
    ap = np.mean([metric["metrics"]["average_precision"]["value"] for metric in metrics])
    by_seed = " ".join(f"{auc:.4f}" for auc in aucs)
    seconds = np.mean([training["seconds"] for training in trainings])
    memory = max(training["peak_memory_bytes"] for training in trainings) / 2**20
    rest = f"{share:.3f} | {ap:.4f} | {seconds:.0f} | {memory:,.0f}"
    print(f"| {name} | {np.mean(aucs):.4f} | {by_seed} | {rest} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--mean_length", type=float, default=20)
    parser.add_argument("--max_len", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of a training")
    parser.add_argument("--ablation", action="store_true", help="the paper's network, part by part")
    parser.add_argument("--bags", action="store_true", help="boosting on shares of the rows")
    parser.add_argument("--shares", type=float, nargs="+", help="of the rows without a click")
    parser.add_argument("--epochs", type=int, help="of the networks of --shares")
    parser.add_argument("--only", nargs="+", help="names of models; default all")
    parser.add_argument("--folder", type=Path, help="keeps files for a later call")
    options = parser.parse_args()
    chosen = {
        name: block
        for name, block in networks(options.ablation).items()
        if name in (options.only or name)
    }
    models = {
        name: [f"len{options.max_len}-{name}_seed{seed}" for seed in options.seeds]
        for name in chosen
    }
    if "boosting" in (options.only or ["boosting"]):
        models["boosting"] = [f"boosting-default_seed{seed}" for seed in options.seeds]
        chosen.setdefault("default", {})
    models |= {name: [name] for name in BASELINES if name in (options.only or name)}
    if options.bags:
        chosen = BAGS
        models = {
            name: [f"boosting-{name}_seed{seed}" for seed in options.seeds] for name in chosen
        }
    if options.shares:
        light = networks(ablation=False)["light"]
        models, chosen = {}, {}
        for share in options.shares:
            name, given = f"share{share:g}".replace(".", "_"), {"negative_share": share}
            train = light.get("train", {}) | given
            train |= {"epochs": options.epochs} if options.epochs else {}
            chosen[name] = {**light, "train": train, "boosting": given}
            bases = (f"len{options.max_len}", "boosting")
            for base in (base for base in bases if base in (options.only or bases)):
                models[f"{base} {share:g}"] = [f"{base}-{name}_seed{s}" for s in options.seeds]
    medium = {"rows": None, "max_len": [options.max_len], "submission_models": ["boosting"]}
    settings = {
        "table": runs.simulated(train_rows=options.rows, mean_length=options.mean_length),
        "sampling": {"holdout_share": 0.5},
        "variants": runs.seeded(chosen, options.seeds),
        "sizes": {"medium": medium},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        results = Path("results/medium")
        names = [results / model / "metrics.json" for seeds in models.values() for model in seeds]
        if not names:
            parser.error(f"--only {' '.join(options.only)} names no model")
        targets = [str(name) for name in names]
        runs.run(folder, settings, targets, options.cores, options.threads)

        def read(models: list[str], name: str) -> list[Mapping[str, Any]]:
            files = (folder / results / model / name for model in models)
            return [json.loads(file.read_text()) for file in files]

        print("| model | AUC by the true probabilities | by seed | share of the best |", end="")
        print(" AP by clicks | s | MiB |\n|---|---|---|---|---|---|---|")
        for name, seeds in models.items():
            show(name, read(seeds, "metrics.json"), read(seeds, "training.json"))


if __name__ == "__main__":
    main()
