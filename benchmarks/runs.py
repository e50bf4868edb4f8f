"""Runs the workflow in a separate folder, for benchmarks that compare models."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from tossctr.config.columns import Columns
from tossctr.datasets.conversion import convert_train
from tossctr.datasets.draw import sample
from tossctr.datasets.split import Sampling
from tossctr.features.fitting import fit_feature_map
from tossctr.simulation.stand_in import simulate_split

CONFIG = REPOSITORY / "config/config.yaml"


def run(
    folder: Path,
    settings: Mapping[str, Any],
    targets: Sequence[str],
    cores: int,
    threads: int = 1,
) -> None:
    """Run the workflow for the targets in `folder`; `settings` override the default config.

    Small networks gain little from threads, so a training uses one core unless `threads` is given.
    If Snakemake fails, exits with its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.yaml").write_text(yaml.safe_dump(dict(settings)))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += [
        "--cores",
        str(max(cores, threads)),
        "--directory",
        str(folder),
        *targets,
        "--configfile",
    ]
    command.append(str(folder / "settings.yaml"))
    command += ["--set-threads", f"train={threads}", f"refit={threads}"]
    command += ["--resources", f"gpu={cores}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def simulated(**changes: Any) -> dict[str, Any]:
    """The Toss table with simulated data only; `changes` override `simulation`."""
    table = yaml.safe_load((REPOSITORY / "config/toss.yaml").read_text())
    table["raw"]["source"] = "simulated"
    return table | {"simulation": table["simulation"] | changes}


def seeded(variants: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """A copy of each variant for each seed, named `<variant>_seed<seed>`."""
    return {
        f"{name}_seed{seed}": {
            **block,
            "train": {**block.get("train", {}), "seed": seed},
            "boosting": {**block.get("boosting", {}), "seed": seed},
        }
        for name, block in variants.items()
        for seed in seeds
    }


def simulate(folder: Path, train_rows: int, test_rows: int, mean_length: float) -> None:
    """Simulate the raw files that the folder lacks."""
    for split, rows in (("train", train_rows), ("test", test_rows)):
        path = folder / f"{split}.parquet"
        if not path.exists():
            simulate_split(
                path,
                folder / f"{split}_truth.parquet",
                split=split,
                rows=rows,
                mean_length=mean_length,
                seed=1,
                train_rows=train_rows,
            )


def convert(folder: Path, rows: int, mean_length: float, valid_share: float = 0.1) -> None:
    """Write train.h5 and valid.h5 of `rows` simulated rows, in one part, and their feature map."""
    simulate(folder, rows, rows, mean_length)
    raw, columns = folder / "train.parquet", Columns.from_config(simulated()["columns"])
    files = {"selection": folder / "selection.parquet", "parts": folder / "parts.json"}
    sampling = Sampling(valid_share=valid_share, seed=1)
    sample(raw, columns.label, None, sampling, part_rows=rows, **files)
    h5 = [folder / "train.h5", folder / "valid.h5"]
    convert_train(raw, files["selection"], columns, *h5)
    fit_feature_map(h5[0], columns, 1).write(folder / "feature_map.json")
