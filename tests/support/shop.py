"""A small shop's click table, and snakemake called on it as its user does."""

import base64
import copy
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake import cli
from snakemake.script import PythonScript

from support import REPOSITORY, SCRIPTS
from support.configs import put

ROWS, TEST_ROWS = 400, 70
SMALL = {
    "model": {"embedding_dim": 4, "interaction_layers": 1, "transformer_layers": 1, "heads": 1},
    "train": {"batch_size": 64, "epochs": 1},
}
CONFIG: dict[str, Any] = {
    "table": {
        "raw": {"train": "in/log.parquet", "test": "in/new.parquet"},
        "columns": {
            "label": "bought",
            "id": "visit",
            "use": ["shop"],
            "groups": {
                "shop": {
                    "profile": ["country"],
                    "sequences": {"pages": "product"},
                    "numeric": ["price", "age"],
                }
            },
        },
    },
    "train": {"min_steps_per_epoch": 1, "weight_decay": 0.25, "embedding_l2": 0},
    "parts": {"rows": 60},
    "submission": {"refit": False},
    "sizes": {
        "toy": {"rows": 100, "max_len": [5, 20], "submission_models": ["len20"], **SMALL},
        "medium": {"rows": 200, "max_len": [20], "submission_models": ["len20"], **SMALL},
        "full": {"max_len": [20], "submission_models": ["len20"], **SMALL},
    },
}


TARGETS = ["results/submission_toy.csv", "results/submission_full.csv"]
TARGETS += ["results/full/len20/metrics.json", "results/full/len20/plots/calibration.svg"]


def shop_table(rows: int, seed: int) -> pd.DataFrame:
    """Half of the rows bought; some histories are empty, some values missing or infinite."""
    random = np.random.default_rng(seed)
    pages = [
        ",".join(map(str, random.integers(1, 40, random.integers(0, 30)))) for _ in range(rows)
    ]
    return pd.DataFrame(
        {
            "price": random.choice([1.5, 20.0, np.nan, np.inf], rows, p=[0.5, 0.3, 0.1, 0.1]),
            "bought": np.arange(rows) % 2,
            "pages": pages,
            "age": random.integers(18, 90, rows),
            "country": random.choice(["kr", "us", None], rows),
            "product": random.choice(["cup", "hat", "pen"], rows),
        }
    )


def write_log(path: Path, table: pd.DataFrame) -> None:
    """The train file: its labels are uncompressed and far from its end, where notes are."""
    notes = np.random.default_rng(5).integers(0, 10**18, (len(table), 12)).astype(str)
    table = table.assign(note=[" ".join(words) for words in notes])
    kinds = {"row_group_size": 150, "use_dictionary": ["country", "product"]}
    table.to_parquet(path, compression="none", **kinds)


def write_inputs(folder: Path) -> None:
    (folder / "in").mkdir(parents=True)
    write_log(folder / "in/log.parquet", shop_table(ROWS, 1))
    test = shop_table(TEST_ROWS, 2).drop(columns="bought")
    # Unseen in training: a country, a product, tokens.
    test.loc[0, ["country", "product", "pages"]] = ["fr", "sock", "900,70000,3"]
    test.insert(2, "visit", [f"v-{i:03}" for i in range(TEST_ROWS)])
    test.to_parquet(folder / "in/new.parquet", row_group_size=40)


def snakemake(
    folder: Path,
    *arguments: str,
    config: dict[str, Any] = CONFIG,
    repository: Path = REPOSITORY,
    code: int = 0,
) -> str:
    """All that the workflow prints in `folder`, where it ends with this exit code."""
    (folder / "shop.yaml").write_text(yaml.safe_dump(config))
    command = ["--snakefile", str(repository / "Snakefile"), "--directory", str(folder)]
    arguments = (*command, *arguments, "--configfile", str(folder / "shop.yaml"))
    return run(folder, *arguments, code=code)


def refused(folder: Path, *arguments: str, **options: Any) -> str:
    """What is printed by a snakemake that refuses its user's call."""
    output = snakemake(folder, *arguments, code=1, **options)
    assert "Traceback" not in output
    return output


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """All that a snakemake prints that is called in `folder` and ends with this exit code."""
    printed = folder / "printed.txt"
    printed.unlink(missing_ok=True)
    # With the progress, which the profile leaves out.
    command = ["snakemake", "--quiet", "host", "--cores", "2", *arguments]
    with connection.Listener() as asked:
        job_starter = threading.Thread(target=_start_jobs, args=(asked,))
        job_starter.start()
        try:
            environment = os.environ | {STARTER: str(asked.address)}
            status = _end(_start(_snakemake, command, str(printed), environment, str(folder)))
        finally:
            connection.Client(asked.address).close()
            job_starter.join()
    output = printed.read_text()
    assert status == code, output
    return output


# Each snakemake, and each job's script, is a fork of one process that support.loaded made.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["support.loaded"])
# Where one asks for such a fork: the name of a variable of the environment.
STARTER = "SHOP_STARTER"
# A start also looks after processes that another thread waits for.
_LOCK = threading.Lock()


def _start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process of its own for a function."""
    process = SERVER.Process(target=function, args=arguments)
    with _LOCK, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))  # where the server finds its imports
        process.start()
    return process


def _end(process: BaseProcess) -> int:
    """The exit code of a process, awaited."""
    connection.wait([process.sentinel])
    with _LOCK:
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def _start_jobs(asked: connection.Listener) -> None:
    """Start what a snakemake asks for, which itself is no process to fork from."""
    functions = {"script": _script, "snakemake": _snakemake}

    def run_job(starter: connection.Connection, job: tuple[Any, ...]) -> None:
        kind, *arguments = job
        starter.send(_end(_start(functions[kind], *arguments)))

    # As many as may wait for one another: a job of Slurm takes three.
    with ThreadPoolExecutor(max_workers=32) as threads:
        while True:
            starter = asked.accept()
            try:
                threads.submit(run_job, starter, starter.recv())
            except EOFError:  # from `run`: snakemake has ended
                return


def _snakemake(command: list[str], printed: str, environment: dict[str, str], folder: str) -> None:
    """Become a snakemake that was called by `command`, and print into a file."""

    def execute_script(script: PythonScript, fname: str, edit: bool = False) -> None:
        """What Snakemake does in a process that starts from nothing."""
        with connection.Client(environment[STARTER]) as starter:
            starter.send(("script", [fname], printed, dict(os.environ), os.getcwd()))
            code = starter.recv()
        if code:
            raise subprocess.CalledProcessError(code, fname)

    _become(command, printed, environment, folder)
    if str(REPOSITORY / "Snakefile") not in command:
        _forget_library()
    PythonScript.execute_script = execute_script
    cli.main()


def _script(command: list[str], printed: str, environment: dict[str, str], folder: str) -> None:
    """Become a Python that was called by `command`, and print into a file."""
    _become(command, printed, environment, folder)
    if str(SCRIPTS) not in Path(command[0]).read_text():
        _forget_library()
    installed = [path for path in sys.path if "site-packages" in path or sys.base_prefix in path]
    sys.path[:] = [str(Path(command[0]).parent), *installed]
    runpy.run_path(command[0], run_name="__main__")


def _forget_library() -> None:
    """Import the library of another copy of the workflow."""
    sys.path[:] = [path for path in sys.path if path != str(SCRIPTS)]
    for name in [name for name in sys.modules if name.split(".")[0] == "tossctr"]:
        del sys.modules[name]


def _become(command: list[str], printed: str, environment: dict[str, str], folder: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with open(printed, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = command


def copy_code(repository: Path) -> None:
    """The workflow, to be changed."""
    for name in ("Snakefile", "workflow", "rules", "scripts", "config", "envs", "profiles"):
        copied = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        repository.mkdir(exist_ok=True)
        copied(REPOSITORY / name, repository / name)


def forget(folder: Path, file: str) -> None:
    """Take Snakemake's note of how it made a file."""
    (folder / ".snakemake/metadata" / base64.b64encode(file.encode()).decode()).unlink()


def changed(path: str, value: Any, config: dict[str, Any] = CONFIG) -> dict[str, Any]:
    """A copy of the config with the value at a dotted path replaced."""
    config = copy.deepcopy(config)
    put(config, path, value)
    return config
