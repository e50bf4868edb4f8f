"""Fuzz targets for what users name: columns, files, and times that are text."""

import datetime
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from feseq.config.columns import Columns
from feseq.families.boosting.model_file import load
from feseq.raw.reading import RawTable
from feseq.raw.times import read_times
from feseq.storage.store import H5Table
from support import REPOSITORY
from support.jobs import run_job
from support.learnable import learnable_table, make
from support.raw_tables import COLUMNS, renamed, write_raw
from support.shop import changed, write_inputs

Draw = Callable[[Random], tuple[str, Callable[[], str]]]
PIECES = [
    *"[]<>{}|$\\`*_'\",;:=/?#%& \n\t.~",
    *("a", "b", "7", "日本", "é"),
    *("clicks of ", "length of ", "category of ", " with ", ", newest 1", "share of code 3 in "),
    *("f0", "label", "probability", "__index_level_0__", "sha256", "nan", "1e5", "-"),
]
FEATURES = ("price", "age", "events", "country", "item")
SETS = ["histories", "clicks", "ids"]
BOOSTING = {"trees": 5, "min_child_weight": 1, "max_depth": 3, "features": SETS}


def name(random: Random) -> str:
    return "".join(random.choices(PIECES, k=random.randint(1, 4)))


def columns(folder: Path) -> Draw:
    """Columns of any names: boosting gives the same logits as with plain ones."""
    table = learnable_table(400)
    expected = logits(folder, table, COLUMNS)

    def attempt(names: dict[str, str]) -> str:
        other = table.rename_columns([names.get(each, each) for each in table.column_names])
        assert np.array_equal(logits(folder, other, renamed(names)), expected), "other logits"
        return "taken"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        found: dict[str, str] = {}
        while len({*found.values()} - {*table.column_names}) < len(FEATURES):
            found = {each: name(random) for each in FEATURES}
            if random.random() < 0.5:
                found["country"] = f"{found['events']} with {found['item']}"
            if random.random() < 0.5:
                found["age"] = f"{random.choice(['length', 'clicks'])} of {found['events']}"
        return str(found), lambda: attempt(found)

    return draw


def logits(folder: Path, table: pa.Table, roles: Columns) -> np.ndarray:
    """Logits of the validation rows, by a small model."""
    make(folder, table, columns=roles)
    model = run_job(folder, folder, {"boosting": BOOSTING})["model"]
    with H5Table(folder / "valid.h5") as valid:
        return load(model).predict(valid)


def paths(folder: Path) -> Draw:
    """Files of any names: a dry run finds them, or refuses.

    It would miss a file of another name. A trial takes some seconds.
    """
    write_inputs(folder)
    wildcards = ["{size}", "{model}", "{name}", "{part}", "{", "}", "{{a}}", "{size,.*}", "a"]
    keys = {
        "table.raw.train": "data/h5/toy/feature_map.json",
        "table.raw.test": "data/h5/test/parts.json",
        "table.raw.sample_submission": "data/h5/test/parts.json",
        "train.start_from": "results/toy/len20/model.safetensors",
        "scores": "results/scores/toy/a.parquet",
    }

    def attempt(key: str, path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        source = folder / "in/new.parquet" if key == "table.raw.test" else folder / "in/log.parquet"
        if key == "table.raw.sample_submission":
            path.write_text("visit,bought\nv-000,0\n")
        else:
            shutil.copy(source, path)
        written = str(path.relative_to(folder))
        value: Any = {"a": [written]} if key == "scores" else written
        (folder / "shop.yaml").write_text(yaml.safe_dump(changed(key, value)))
        command = [sys.executable, "-m", "snakemake", "-n", keys[key], "--directory", str(folder)]
        command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile"]
        done = subprocess.run(
            [*command, str(folder / "shop.yaml")], capture_output=True, text=True, check=False
        )
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed, printed[-300:]
        path.unlink()
        assert done.returncode == 0 or "Snakemake takes" in printed, printed[-300:]
        return "refused" if done.returncode else "planned"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        key = random.choice([*keys])
        pieces = [*wildcards, *(piece for piece in PIECES if piece not in "/\n")]
        made = "".join(random.choices(pieces, k=random.randint(1, 3)))
        path = folder / random.choice(["in", "in/{size}", f"in/{made}"]) / f"{made}.parquet"
        return f"{key}: {path.name!r}", lambda: attempt(key, path)

    return draw


START = datetime.datetime(2023, 12, 28, 22, 30)
WRITTEN: dict[str, Callable[[int], Any]] = {
    "number": lambda i: str(8 + i),
    "numbered": lambda i: f"day{8 + i}",
    "padded": lambda i: f"day{8 + i:04}",
    "date": lambda i: f"{START + datetime.timedelta(i):%Y-%m-%d}",
    "time": lambda i: f"{START + datetime.timedelta(hours=i):%Y-%m-%dT%H:%M}",
    "day first": lambda i: f"{START + datetime.timedelta(i):%d/%m/%Y}",
    "month first": lambda i: f"{START + datetime.timedelta(i):%m-%d-%Y}",
    "two digits": lambda i: f"{START + datetime.timedelta(i):%d.%m.%y}",
    "month by name": lambda i: f"{START + datetime.timedelta(i):%d %b %Y}",
    "uint64": lambda i: 2**63 + i,
    "timestamp": lambda i: START + datetime.timedelta(hours=i),
    "datetime.date": lambda i: (START + datetime.timedelta(i)).date(),
}


def times(folder: Path) -> Draw:
    """A column of times in some form, perhaps with odd values: the order is right, or refused."""

    def attempt(values: list[Any], newest: set[Any], is_odd: bool) -> str:
        kind = pa.uint64() if isinstance(values[0], int) else None
        raw = write_raw(folder, pa.table({"t": pa.array(values, kind)}), row_group_size=7)
        key = read_times(RawTable(raw), "t")
        assert not is_odd, "an odd value has a place"
        assert values[int(key.argmax())] in newest, f"newest {values[int(key.argmax())]!r}"
        return "ordered"

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        form = random.choice([*WRITTEN])
        rows = [random.randrange(random.choice([5, 40])) for _ in range(30)]
        values = [WRITTEN[form](i) for i in rows]
        newest, is_odd = {WRITTEN[form](max(rows))}, False
        if form in ("number", "date") and random.random() < 0.5:
            odd = random.choice(["", "n/a", "nan", "inf", None] if form == "number" else ["", None])
            values[random.randrange(1, 30)], is_odd = odd, True
        return f"{form}: {values}", lambda: attempt(values, newest, is_odd)

    return draw
