"""Runs the workflow in a folder of its own, for benchmarks that compare models."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))
CONFIG = REPOSITORY / "config/config.yaml"


def run(
    folder: Path,
    settings: Mapping[str, Any],
    targets: Sequence[str],
    cores: int,
    threads: int = 1,
) -> None:
    """Let the workflow make the targets in `folder` with `settings` over the default config.

    Small networks gain little from threads, so a training has one of the cores, unless
    `threads` says otherwise. Exits with what Snakemake printed if it fails.
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
    """The Toss table, of its stand-in alone, with other keys of `simulation`."""
    table = yaml.safe_load((REPOSITORY / "config/toss.yaml").read_text())
    table["raw"]["source"] = "simulated"
    return table | {"simulation": table["simulation"] | changes}


def seeded(variants: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Each variant once for each seed, named `<variant>_seed<seed>`."""
    return {
        f"{name}_seed{seed}": {
            **block,
            "train": {**block.get("train", {}), "seed": seed},
            "boosting": {**block.get("boosting", {}), "seed": seed},
        }
        for name, block in variants.items()
        for seed in seeds
    }
