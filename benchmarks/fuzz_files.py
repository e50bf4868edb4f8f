"""Fuzz targets for files of ours that were changed, and for variables of the environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import onnx
from fuzz_commands import in_child

from feseq.catalog.loading import export_model, load_model
from feseq.common import tensors
from feseq.common.errors import UserError
from feseq.common.files import read_json, write_json
from feseq.common.logits import require_finite
from feseq.common.parquet import read_table
from feseq.evaluate.measure import write_metrics
from feseq.evaluate.validation import predict_validation
from feseq.families.feseq.check_rows import raw_rows
from feseq.features.encoding import FeatureEncoder
from feseq.features.feature_map import FeatureMap
from feseq.predict.part import predict_part
from feseq.report.comparison import write_comparison
from feseq.report.plots.one_model import plot_model
from feseq.serve.scorer import METADATA, Scorer, signed
from feseq.storage.conversion import convert_test_part
from feseq.storage.opening import open_table
from support import SCRIPTS
from support.jobs import run_job
from support.learnable import learnable_table, make
from support.networks import WHOLE, random_model
from support.raw_tables import COLUMNS, to_test_h5
from support.trainings import OFTEN, STILL, make_data

Draw = Callable[[Random], tuple[str, Callable[[], str]]]
NUMBERS = [0, -1, 1, 7, 255, 10**6, 2**31 - 1, -(2**31), 2**62, 0.5, float("nan"), float("inf")]
TYPES = ["i1", "u1", "i4", "i8", "u8", "f4", "f8", "S3", ">i4"]
REFUSED = 3
TRAINING, METRICS = "toy/boosting/training.json", "toy/boosting/metrics.json"
PREDICTED = "toy/boosting/valid_predictions.parquet"


def prepare(folder: Path) -> None:
    """A test table in H5, a model of each family, what is known of one, and an export."""
    make(folder, learnable_table(400))
    to_test_h5(folder, learnable_table(300, seed=9))
    out = folder / "toy/boosting"
    settings = {"boosting": {"trees": 9, "min_child_weight": 1, "features": ["clicks", "ids"]}}
    run_job(folder, out, settings)["model"].rename(folder / "boosting")
    valid, predicted, speed = [folder / "valid.h5"], folder / PREDICTED, out / "valid_speed.json"
    predict_validation(folder / "boosting", valid, predicted, speed)
    write_metrics(predicted, valid, folder / METRICS, full_name="toy/boosting")
    random_model(WHOLE, FeatureMap.read(folder / "feature_map.json")).save(folder / "feseq")
    export_model(folder / "feseq", [folder / "valid.h5"], folder / "onnx")
    predict_part(folder / "boosting", folder / "test.h5", folder / "part000.parquet")


def other(random: Random, value: Any) -> Any:
    """A value in which one, at any depth, is another."""
    if isinstance(value, dict | list) and value and random.random() < 0.95:
        key = random.choice([*value] if isinstance(value, dict) else range(len(value)))
        value[key] = other(random, value[key])
        return value
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "iuf" and value.ndim:
        changed = value.copy().reshape(-1)
        start = random.randrange(changed.size)
        stop = start + random.choice([1, 9, changed.size])
        with np.errstate(invalid="ignore"):
            changed[start:stop] = np.array(random.choice(NUMBERS)).astype(value.dtype)
        shapes = [changed.reshape(value.shape)] * 4 + [value[:-1], value[:0], changed]
        return random.choice([*shapes, value.astype(random.choice(TYPES))])
    return random.choice([*NUMBERS, "x", None, [], {}, [value], True])


def h5(path: Path, random: Random) -> None:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name, key = random.choice(names), random.choice([*file.attrs])
        elsewhere = h5py.ExternalLink(path.with_name("train.h5"), name)
        links = [h5py.SoftLink(f"/{name}"), h5py.SoftLink("/row"), file, elsewhere]
        values = file[name][()] if isinstance(file[name], h5py.Dataset) else None
        kind = random.randrange(6)
        if kind == 0:
            text = file.attrs[key]
            is_json = isinstance(text, str) and text[:1] in ("[", "{")
            file.attrs[key] = json.dumps(other(random, json.loads(text))) if is_json else 10**12
            return
        del file[name]
        if kind == 1 or values is None or values.dtype.kind not in "iuf":
            file[name] = random.choice(links)
        elif kind == 2:
            file.create_dataset(name, values.shape, values.dtype, external=[(path, 0, 10**6)])
        else:
            file[name] = other(random, values)


def model(path: Path, random: Random) -> None:
    content = tensors.load(path)
    key = random.choice([key for key in content if key != "marks"] + ["feature_map", "boosters"])
    if key == "boosters" and key in content and random.random() < 0.9:
        booster = bytearray(content[key]["0"].tobytes())
        arrays = [*re.finditer(rb"\w\[\$(.)#L(.{8})", booster, re.DOTALL)]
        array = random.choice([a for a in arrays if int.from_bytes(a[2], "big")])
        size = {b"d": 4, b"l": 4, b"L": 8, b"U": 1}[array[1]]
        at = array.end() + size * random.randrange(int.from_bytes(array[2], "big"))
        number = random.choice(NUMBERS[:9])
        booster[at : at + size] = (number % 256**size).to_bytes(size, "big")
        content[key]["0"] = np.frombuffer(bytes(booster), np.uint8)
    elif key == "feature_map":
        fields = other(random, json.loads(content[key].tobytes()))
        content[key] = np.frombuffer(json.dumps(fields).encode(), np.uint8)
    else:
        content[key] = other(random, content.get(key))
    tensors.save(content, path)


def exported(path: Path, random: Random) -> None:
    graph = onnx.load(path)
    entries = {entry.key: entry for entry in graph.metadata_props}
    graph.metadata_props.remove(entries["sha256"])
    if random.random() < 0.5:
        entries[METADATA].value = json.dumps(other(random, json.loads(entries[METADATA].value)))
    else:
        weights = random.choice(graph.graph.initializer)
        values = other(random, onnx.numpy_helper.to_array(weights))
        weights.CopyFrom(onnx.numpy_helper.from_array(np.asarray(values), weights.name))
    path.write_bytes(signed(graph.SerializeToString()))


def json_file(path: Path, random: Random) -> None:
    plain = read_json(path)
    key = random.choice([*plain])
    write_json(path, plain | {key: other(random, plain[key])})


def damage(path: Path, random: Random) -> None:
    """Bits that flip; in parquet, most of them in the footer."""
    content = bytearray(path.read_bytes())
    first = random.choice([0, max(0, len(content) - 1_200)])
    for place in random.choices(range(first, len(content)), k=random.choice([1, 1, 3])):
        content[place] ^= 1 << random.randrange(8)
    if random.random() < 0.1:
        del content[random.randrange(len(content)) :]
    path.write_bytes(content)


CHANGES: dict[str, Callable[[Path, Random], None]] = {
    **{"test.h5": h5, "boosting": model, "feseq": model},
    **{"onnx": exported, "feature_map.json": json_file, "part000.parquet": damage},
    **{"parts.json": json_file, TRAINING: json_file, METRICS: json_file},
}


def predictions(folder: Path, name: str, rows: int) -> list[np.ndarray]:
    """What follows from the changed file, of blocks of so many rows."""
    if name == "onnx":
        with open_table(folder / "valid.h5") as table:
            some = raw_rows(table, 60)
        scorer = Scorer.load(folder / name)
        parts = [some[i : i + rows] for i in range(0, len(some), rows)]
        return [np.concatenate([scorer.logits(part) for part in parts])]
    if name == "part000.parquet":
        return [read_table(folder / name, ("logit",))["logit"].to_numpy()]
    if name == "parts.json":
        raw = folder.with_name("pristine") / "test.parquet"
        convert_test_part([str(raw)], folder / name, 0, COLUMNS, folder / name, threads=1, code="")
        return []
    if name in (TRAINING, METRICS):
        write_comparison([folder / METRICS], folder / "comparison.csv", metric="auc")
        pages = [folder / f"{page}.svg" for page in ("curves", "calibration", "slices")]
        plot_model(folder / PREDICTED, folder / METRICS, *pages)
        return []
    with open_table(folder / "test.h5") as table:
        table.block_rows = rows
        if name == "feature_map.json":
            encoder = FeatureEncoder(FeatureMap.read(folder / name), table)
            return [np.concatenate([encoder.categories(block) for block in table.blocks()])]
        models = ["boosting", "feseq"] if name == "test.h5" else [name]
        return [load_model(folder / each).predict(table) for each in models]


def files(folder: Path) -> Draw:
    """A changed file is refused, or gives finite logits that do not depend on the blocks' size.

    A damaged one is refused, or gives what the whole one gives.
    """
    pristine, place, printed = (folder / name for name in ("pristine", "place", "printed.txt"))
    pristine.mkdir()
    assert in_child(lambda: prepare(pristine), printed) == 0, printed.read_text()

    def compare(name: str, is_damaged: bool) -> None:
        try:
            other = predictions(pristine if is_damaged else place, name, 7)
            for one, again in zip(predictions(place, name, 8_192), other):
                require_finite(one.reshape(-1))
                assert one.shape == again.shape, "another number of rows"
                assert np.allclose(one, again, 1e-3, 1e-3), "another result in other blocks"
        except UserError:
            raise SystemExit(REFUSED) from None

    def attempt(name: str, change: Callable[[Path, Random], None], random: Random) -> str:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(pristine, place)
        change(place / name, random)
        code = in_child(lambda: compare(name, change is damage), printed)
        if code not in (0, REFUSED):
            raise RuntimeError(f"exit code {code}: {printed.read_text()[-200:]}")
        return "refused" if code else "taken"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        name = random.choice([*CHANGES])
        change = random.choice([CHANGES[name]] * 3 + [damage])
        return f"{name}, {change.__name__}", lambda: attempt(name, change, random)

    return draw


VALUES = {
    **dict.fromkeys(("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_NODEID"), ("0", "1", "-1", "x", "")),
    **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS"), ("1", "2", "0", "x", "")),
    "MASTER_ADDR": ("127.0.0.1", "nowhere.invalid", ""),
    "MASTER_PORT": ("29555", "0", "x", ""),
    "MPLBACKEND": ("bogus", ""),
    "SLURM_JOB_ID": ("17", "x"),
    **dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), ("0", "x", "999")),
    **dict.fromkeys(("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TMPDIR", "HOME"), ("/proc/x", "")),
    "NUMBA_THREADING_LAYER": ("bogus",),
    "CUDA_VISIBLE_DEVICES": ("x", ""),
    "LC_ALL": ("C", "bogus"),
    "PYTHONUTF8": ("0",),
}


def environment(folder: Path) -> Draw:
    """Variables that others set: the training writes the same model, or refuses.

    A trial takes some seconds, so give `--trials 40 --seconds 120`.
    """
    make_data(folder)
    expected = training(folder, {})
    assert expected == (0, expected[1], ""), expected

    def attempt(variables: dict[str, str]) -> str:
        code, model, log = training(folder, variables)
        assert "Traceback" not in log, log[-300:]
        if code == 0:
            assert model == expected[1], "another model"
            return "the same"
        assert re.search(r" ERROR ", log), log[-300:]
        return "refused"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        names = random.sample([*VALUES], random.randint(1, 5))
        found = {name: random.choice(VALUES[name]) for name in names}
        return str(found), lambda: attempt(found)

    return draw


def training(folder: Path, variables: dict[str, str]) -> tuple[int, bytes, str]:
    """Exit code, model and log of scripts/train.py; no log if it ended well."""
    model = folder / "out/model.safetensors"
    shutil.rmtree(model.parent, ignore_errors=True)
    arguments = {
        **{name: folder / f"{name}.h5" for name in ("train", "valid")},
        "feature_map": folder / "feature_map.json",
        "settings": json.dumps({"model": asdict(STILL), "train": asdict(replace(OFTEN, epochs=1))}),
        "full_name": "toy/len10",
        "runtime": '{"device": "cpu"}',
        "threads": 1,
        **{"model": model, "history": folder / "out/h.csv", "training": folder / "out/t.json"},
    }
    command = [sys.executable, str(SCRIPTS / "train.py")]
    command += [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    done = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.returncode, b"", done.stderr
    return 0, model.read_bytes(), ""
