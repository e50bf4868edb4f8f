"""A fuzz target for scripts by hand: what a command line names is read, or written, or refused."""

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from glob import glob
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd

from entry import run_script
from feseq.predict.scoring import score_files
from support.jobs import run_job
from support.learnable import learnable_table, make
from support.raw_tables import write_raw

ROWS = {"new.parquet": 20, "other.parquet": 15, "link.parquet": 20, "n*.parquet": 20}
NEW, LINKED = ["scores.parquet"] * 40, ["link.parquet", "hard.parquet", "folder/../new.parquet"]
NO_FILES = ["folder", ".", "..", "/", "", "-", "/dev/null", "kept.txt/x", "s3://none/x.parquet"]
NAMES = ["~/home.parquet", "folder/deep/er.parquet", "x" * 300, "a\nb.parquet", "{size}.parquet"]
OUTPUTS = [*NEW, *LINKED, *NO_FILES, *NAMES, "new.parquet", "model.safetensors", "kept.txt"]
NUMBERS = ["0", "-1", "1", "2", "7", "x", "", "1e3", "1.5", "\u0662", "9" * 30]
WEIGHTS = "[1] [1,1] [0.3,0.7] [1e308,1e308] [1e999,1] [NaN] [-1,2] [] [0,0] {} 1 [null] [true]"
OPTIONS: dict[str, list[str]] = {
    "threads": NUMBERS,
    "part_rows": NUMBERS,
    "weights": [*WEIGHTS.split(), '["a"]', "[5e-324]"],
    "prior": ["observed", "balanced", "even"],
    "id_column": ["uid", "ID", "", "probability", "price", "nowhere"],
    "row_time": ["when", ""],
    "runtime": ['{"device":"cpu"}', "{}", "[]", "7", '{"device":"tpu"}', '{"memory_gib":0}'],
    "fitted": ["kept.txt", "nowhere.json", "folder", "new.parquet"],
    "code": ["x"],
}
# As if it stood in the command before; `--input` adds to the files, and the others have one value.
TWICE = [["--output", "other.out"], ["--id_column", "uid"], ["--input", "new.parquet"]]


def in_child(function: Callable[[], object], printed: Path) -> int:
    """The exit code of a process that calls `function` and prints to a file."""
    child = os.fork()
    if child == 0:
        with open(printed, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = 70
        try:
            function()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def prepare(folder: Path) -> None:
    """Tables, a model, and files that a command has nothing to do with."""
    os.chdir(folder)
    made = make(folder / "made", learnable_table(300))
    settings = {"boosting": {"trees": 3, "min_child_weight": 1}}
    run_job(made, made, settings)["model"].rename(folder / "model.safetensors")
    for seed, name in enumerate(("new", "other")):
        write_raw(folder, learnable_table(ROWS[f"{name}.parquet"], seed=seed), name)
    shutil.rmtree(made)
    (folder / "link.parquet").symlink_to("new.parquet")
    os.link(folder / "new.parquet", folder / "hard.parquet")
    (folder / "kept.txt").write_text("a user's own\n")
    (folder / "folder").mkdir()


def outputs(folder: Path) -> Callable[[Random], tuple[str, Callable[[], str]]]:
    """`score.py` by hand: inputs stay, other files too unless --force, and errors speak."""
    pristine = folder / "pristine"
    pristine.mkdir()
    assert in_child(lambda: prepare(pristine), folder / "printed.txt") == 0

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        models = random.choices(["model.safetensors", "new.parquet", "nowhere", "."], [27, 1, 1, 1])
        models *= random.choice([1, 1, 1, 2])
        names = random.choices(
            [*ROWS, "nowhere.parquet", "kept.txt", "folder", ""],
            [40, 8, 2, 2, 1, 1, 1, 1],
            k=random.choice([1, 1, 1, 2, 3]),
        )
        arguments = ["--model", *models, "--input", *names, "--output", random.choice(OUTPUTS)]
        chosen = {"id_column": "uid", "runtime": '{"device":"cpu"}', "threads": "1"}
        for name in random.sample([*OPTIONS], random.choice([0, 0, 0, 1, 1, 2])):
            chosen[name] = random.choice(OPTIONS[name])
        arguments += [f"--{name}={value}" for name, value in chosen.items()]
        if random.random() < 0.3:
            arguments.append("--force")
        if random.random() < 0.1:
            option, value = random.choice(TWICE)
            arguments += [option, value]
            if option == "--input":
                names.append(value)
        return repr(arguments), lambda: command(folder, arguments, models, names)

    return draw


def command(folder: Path, arguments: list[str], models: list[str], inputs: list[str]) -> str:
    """The class of one command, in a fresh copy of the folder."""
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "pristine", place, symlinks=True)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    kept = {(place / p).resolve().name for n in [*models, *inputs] for p in glob(n, root_dir=place)}

    def run() -> None:
        os.chdir(place)
        os.environ["HOME"] = str(place / "folder")
        sys.argv = ["score.py", *arguments]
        run_script(score_files, at_shell=True)

    code = in_child(run, folder / "printed.txt")
    printed = (folder / "printed.txt").read_text(errors="replace")
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    changed = {path.name for path in before if after.get(path) != before[path]}
    assert not changed & kept, f"an input was changed: {changed}"
    assert not changed or "--force" in arguments, f"changed without --force: {changed}"
    if code:
        assert after.keys() == before.keys(), f"left {after.keys() - before.keys()}"
        if "Traceback" in printed or not (" ERROR " in printed or "error:" in printed):
            raise RuntimeError(f"exit code {code}: {printed.strip()[-300:]}")
        return "refused"
    assert not set(arguments[-2:]) & {"other.out"}, "one of two outputs was written"
    output = arguments[arguments.index("--output") + 1].replace("~", "folder")
    scores = pd.read_parquet(place / output)
    rows = sum(ROWS[name] for name in inputs)
    assert len(scores) == rows, f"{len(scores)} of {rows} rows are scored"
    assert scores["probability"].between(0, 1).all(), "a score is no probability"
    assert np.isfinite(scores["probability"]).all(), "a score is no number"
    return "taken"
