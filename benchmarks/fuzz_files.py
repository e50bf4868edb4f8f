"""Fuzz targets for files of ours that were changed, and for variables of the environment."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import torch

from feseq.catalog.loading import export_model
from feseq.common.files import read_json, write_json
from feseq.common.parquet import read_table, write_table
from feseq.families.feseq.check_rows import check_rows
from feseq.families.feseq.model_file import TrainedModel
from feseq.families.feseq.network.build import build_model
from feseq.families.feseq.settings import ModelConfig
from feseq.family.model import About
from feseq.features.feature_map import FeatureMap
from feseq.raw.parts import read_parts
from feseq.sampling.list_parts import list_parts
from feseq.serve.scorer import Scorer
from feseq.storage.opening import open_table
from support import SCRIPTS
from support.learnable import learnable_table, make
from support.raw_tables import COLUMNS, raw_table, write_raw
from support.trainings import OFTEN, STILL, make_data

Draw = Callable[[Random], tuple[str, Callable[[], str]]]
FOOTER_BYTES = 1_200
SMALL = ModelConfig(
    max_len=6, embedding_dim=4, interaction_layers=1, transformer_layers=1, heads=1, mlp=(8,)
)


def json_files(folder: Path) -> Draw:
    """A changed JSON file: what is read is what was written, or it is refused."""
    make(folder, raw_table(200))
    list_parts(write_raw(folder, raw_table(30)), COLUMNS, folder / "parts.json", rows=30)
    figures = {"auc": {"value": 0.703, "low": None}, "simulated_data": False, "rows": [3, 1e-05]}
    write_json(folder / "metrics.json", figures)
    readers = {
        "feature_map": FeatureMap.read,
        "parts": read_parts,
        "metrics": partial(read_json, keys=["auc"]),
    }
    whole = {kind: (folder / f"{kind}.json").read_bytes() for kind in readers}
    expected = {kind: read(folder / f"{kind}.json") for kind, read in readers.items()}

    def attempt(kind: str, content: bytes) -> str:
        changed = folder / "changed.json"
        changed.write_bytes(content)
        # The same size and time as before, as for the memory of `read_parts`.
        os.utime(changed, (1, 1))
        assert readers[kind](changed) == expected[kind], "taken, and not as it was written"
        return "the same"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        kind, content = random.choice([*readers]), bytearray()
        while not content or content == whole[kind]:
            content = bytearray(whole[kind])
            at, byte = random.randrange(len(content)), random.choice(b'0189.,:"{}[]- eaN\n\xff')
            match random.randrange(5):
                case 0 | 1:
                    content[at] = byte
                case 2:
                    content.insert(at, byte)
                case 3:
                    del content[at : at + random.choice([1, 1, 9])]
                case 4:
                    other = bytes(whole[random.choice([*readers])])
                    others = [b"{}", b"[]", b"", other, other[:at], b"[" * at]
                    content = bytearray(random.choice(others))
        return f"{kind}, byte {at}", lambda: attempt(kind, bytes(content))

    return draw


def predictions(folder: Path) -> Draw:
    """Predictions with a few changed bits, most of them in the footer, are refused."""
    table = pa.table({"id": ["U1", "U2", "U3"] * 50, "logit": np.arange(150, dtype=np.float32)})
    path = folder / "part000.parquet"
    write_table(table, path, {"click_rate": "0.1", "full_name": "toy/len5", "simulated": "true"})
    whole, names = path.read_bytes(), table.column_names
    expected = read_table(path, names)

    def attempt(content: bytes) -> str:
        path.write_bytes(content)
        assert read_table(path, names).equals(expected, check_metadata=True), "another table"
        return "the same"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        content, first = bytearray(whole), random.choice([0, len(whole) - FOOTER_BYTES])
        places = random.choices(range(max(0, first), len(whole)), k=random.choice([1, 1, 3]))
        for place in places:
            content[place] ^= 1 << random.randrange(8)
        return f"bytes {places}", lambda: attempt(bytes(content))

    return draw


def onnx(folder: Path) -> Draw:
    """An exported model with a few changed bits or bytes is refused."""
    make(folder, learnable_table(200))
    fields = FeatureMap.read(folder / "feature_map.json")
    torch.manual_seed(0)
    about = About({"model": asdict(SMALL)}, fields, simulated=False, click_rate=0.1)
    TrainedModel(about, build_model(SMALL, fields)).save(folder / "model.safetensors")
    files = folder / "model.safetensors", folder / "valid.h5", folder / "model.onnx"
    export_model(*files)
    whole = files[2].read_bytes()
    with open_table(files[1]) as table:
        rows, _ = check_rows(table, 20, None, {"events"})
    expected = Scorer(whole).logits(rows)

    def attempt(content: bytes) -> str:
        assert np.array_equal(Scorer(content).logits(rows), expected), "other logits"
        return "the same"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        content, places = bytearray(whole), [random.randrange(len(whole))]
        places += [random.randrange(len(whole)) for _ in range(random.choice([0, 0, 3]))]
        for place in places:
            content[place] ^= 1 << random.randrange(8)
        if random.random() < 0.1:
            del content[places[0] : places[0] + random.choice([1, 1000, len(whole)])]
        return f"bytes {places}", lambda: attempt(bytes(content))

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
    model.unlink(missing_ok=True)
    arguments = {
        "train": folder / "train.h5",
        "valid": folder / "valid.h5",
        "feature_map": folder / "feature_map.json",
        "settings": json.dumps({"model": asdict(STILL), "train": asdict(replace(OFTEN, epochs=1))}),
        "full_name": "toy/len10",
        "runtime": '{"device": "cpu"}',
        "threads": 1,
        "model": model,
        "history": folder / "out/history.csv",
        "training": folder / "out/training.json",
    }
    command = [sys.executable, str(SCRIPTS / "train.py")]
    command += [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    done = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.returncode, b"", done.stderr
    return 0, model.read_bytes(), ""
