"""Seconds to score one row, and 100 candidates for one user: exported, and by PyTorch.

    python benchmarks/serving.py --settings full --max_len 500

Both score the same dictionaries of a user with `max_len` events, on one core, in turns, from raw
values to probabilities. `network` is what the graph, or the eager network,
takes of that. Weights are not trained, which costs the same.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before anything makes threads, which would go to other cores.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["OMP_NUM_THREADS"] = "1"

import data
import numpy as np
import torch
import yaml

from feseq.common.logits import sigmoid
from feseq.config.catalog import model_settings
from feseq.config.model import ModelConfig
from feseq.dataset.feature_map import fit_feature_map
from feseq.dataset.store import H5Table
from feseq.model.build import build_model
from feseq.model.device import Machine
from feseq.predict.model_file import TrainedModel
from feseq.serve.export import export_model
from feseq.serve.planted import Planted
from feseq.serve.rows import RowTable
from feseq.serve.scorer import Scorer

ROWS, CANDIDATES = 3_000, 100
CONFIG = Path(__file__).parents[1] / "config/config.yaml"
CPU = Machine(torch.device("cpu"))


def times(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds [rounds] of each call, one after the other in every round."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            found[name].append(1000 * (time.perf_counter() - started))
    return {name: np.array(values) for name, values in found.items()}


def graph_call(scorer: Scorer, rows: list[dict[str, Any]]) -> Callable[[], Any]:
    """The exported graph alone, on inputs that are ready."""
    runs: list[dict[str, np.ndarray]] = []
    table = RowTable(rows, **scorer.columns)
    encoder = scorer.encoder.of_table(table)
    for some in scorer.chunks(table):
        runs.append(dict(scorer.inputs(encoder, table, some)))
    return lambda: [scorer.session.run(None, inputs) for inputs in runs]


def eager_call(model: TrainedModel, scorer: Scorer, rows: list[dict[str, Any]]) -> Any:
    """The probabilities by PyTorch."""
    table = RowTable(rows, **scorer.columns)
    return sigmoid(model.predict(model.source(table, CPU), CPU))


def network_call(
    model: TrainedModel, scorer: Scorer, rows: list[dict[str, Any]]
) -> Callable[[], Any]:
    """The eager network alone, on batches that are ready."""
    source = model.source(RowTable(rows, **scorer.columns), CPU)
    batches = list(source.in_order())
    network = model.network.eval()

    @torch.inference_mode()
    def call() -> None:
        for batch in batches:
            network(batch)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", default="full", help="of this size in config.yaml")
    parser.add_argument("--max_len", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = yaml.safe_load(CONFIG.read_text())
    config["sizes"][options.settings]["max_len"] = [options.max_len]
    settings = model_settings(config, options.settings, f"len{options.max_len}")["model_config"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.make(folder, ROWS, 1.2 * options.max_len)
        data.train_to_h5(folder, threads=1)
        feature_map = fit_feature_map(folder / "train.h5", data.COLUMNS, 1)
        network = build_model(ModelConfig(**settings), feature_map)
        model = TrainedModel(network, ModelConfig(**settings), feature_map, True, 0.02)
        model.save(folder / "model.safetensors")
        onnx = folder / "model.onnx"
        export_model(folder / "model.safetensors", folder / "valid.h5", onnx)
        started = time.perf_counter()
        scorer = Scorer.load(onnx)
        loaded = time.perf_counter() - started
        with H5Table(folder / "valid.h5") as table:
            rows = Planted(table, feature_map, 100).dictionaries(None)
        difference = scorer.about["check"]["largest_logit_difference"]
        size = onnx.stat().st_size
    (field,) = feature_map.sequences
    user = max(rows, key=lambda row: len(row[field.column]))
    user[field.column] = (user[field.column] * options.max_len)[: options.max_len]
    items = feature_map.targets[0]
    offered = [
        {**user, items.column: items.vocabulary[i % len(items.vocabulary)]}
        for i in range(CANDIDATES)
    ]
    print(f"{size / 2**20:.1f} MiB, loaded in {loaded:.1f} s, logits differ by {difference:.1e}\n")
    print("| rows | by | median ms | fastest ms |\n|---|---|---|---|")
    for case, rounds in (([user], options.rounds), (offered, max(3, options.rounds // 10))):
        calls = {
            "exported": lambda case=case: scorer.score(case),
            "exported, network": graph_call(scorer, case),
            "PyTorch": lambda case=case: eager_call(model, scorer, case),
            "PyTorch, network": network_call(model, scorer, case),
        }
        times(calls, 2)
        for by, found in times(calls, rounds).items():
            print(f"| {len(case)} | {by} | {np.median(found):.1f} | {np.min(found):.1f} |")


if __name__ == "__main__":
    main()
