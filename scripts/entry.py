"""Runs the `main` of a script, for a Snakemake job or for a person at the shell."""

import argparse
import inspect
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

# Before anything loads OpenMP, whose threads wait for one another in loops: they soon go to sleep
# instead. Beside other work on the same cores a training is several times as fast, alone a few
# percent slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from feseq.common.errors import UserError
from feseq.common.log import log_to
from feseq.common.memory import keep_freed_memory
from feseq.common.signals import exit_on_sigterm

# Those that name the job of a rule.
WILDCARDS = ("split", "size", "model", "baseline", "name", "one", "two", "part")
# Those that name its model, as files say whose they are: full/len150.
FULL_NAME = ("size", "model", "baseline", "name")
# Parameters that are given several times, or several values; and those whose values are no JSON.
_LISTS = (list[Path], list[str])
_TEXTS = (str, str | None, Path, *_LISTS)


def run_script(main: Callable[..., None], job: Any) -> None:
    """Call `main` with what its signature names.

    `job` is the global `snakemake`, or None at the shell. A job's inputs, outputs, wildcards and
    settings (its named params, each `name=value`) go to the parameters of the same name, as do
    `threads`, the digests of its `code`, the config block `runtime`, and the `full_name` of its
    model. At the shell, wildcards (`--size toy --model len100`) name the job of a rule, and
    `--name value` for each parameter runs the script without rules. Parameters annotated Path
    become paths; others are checked against their annotations. A UserError, or an error of the
    operating system, ends the script with its message and no traceback.
    """
    parameters = inspect.signature(main).parameters
    if job is None:
        _run_rule(_script(main).resolve(), {*parameters})
    logs = list(job.log) if job is not None else []
    if "MASTER_ADDR" not in os.environ:  # else another machine may have begun the log
        for path in logs:
            Path(path).write_text("")
    log_to(logs, _job_name(main, job) if job is not None else "")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(_place(main))
    # Slurm's way to end a job; as an exception it lets half-written files be removed.
    exit_on_sigterm()
    keep_freed_memory()
    values = _shell_values(main, parameters) if job is None else _job_values(job, parameters)
    try:
        main(**{name: _typed(parameters[name], value) for name, value in values.items()})
    except UserError as error:
        logging.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        logging.error("interrupted; the same command goes on with what is missing")
        sys.exit(130)
    except OSError as error:
        # A full disk, a read-only folder: the machine's state, no fault of the code.
        advice = "free some space" if "No space left" in str(error) else "fix that"
        logging.error("%s; %s and run the same command again", error, advice)
        sys.exit(1)
    except Exception:
        logging.exception("%s failed", _script(main).name)
        sys.exit(1)


def _run_rule(script: Path, parameters: set[str]) -> None:
    """Become the Snakemake that runs one job of the script's rule; return if others are given.

    Files and settings are then those of the rule, and Snakemake knows of the run. It makes missing
    inputs first, and takes stale ones as they are. What is no wildcard is for Snakemake, such as
    `--configfile mine.yaml` or `-n`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in WILDCARDS:
        parser.add_argument(f"--{name}")
    given, others = parser.parse_known_args()
    options = {option.partition("=")[0].lstrip("-") for option in others if option[:1] == "-"}
    if options & (parameters | {"h", "help"}):
        return
    job = ",".join(f"{name}={value}" for name, value in vars(given).items() if value)
    command = [sys.executable, "-m", "snakemake", "--cores", "all"]
    command += ["--snakefile", str(script.parents[1] / "Snakefile")]
    command += ["--allowed-rules", script.stem, "--target-jobs", f"{script.stem}:{job}", *others]
    print("running", *command[2:], file=sys.stderr, flush=True)
    os.execv(sys.executable, command)


def _script(main: Callable[..., None]) -> Path:
    """The file of `main`; a job runs a copy of it, and knows what it is a copy of."""
    return Path(main.__globals__["__file__"])


def _job_name(main: Callable[..., None], job: Any) -> str:
    """The rule and the job's wildcards: `train full/len150`."""
    return f"{_script(main).stem} {'/'.join(map(str, job.wildcards))}".strip()


def _place(main: Callable[..., None]) -> logging.LogRecord:
    """A line for the log alone: which script runs in which Python, and on which host."""
    script, version = _script(main).name, platform.python_version()
    text = f"{script} in Python {version}, {sys.executable}, on {platform.node()}"
    return logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "msg": text})


def _job_values(job: Any, parameters: Any) -> dict[str, Any]:
    known: dict[str, Any] = dict(job.wildcards.items())
    known["full_name"] = "/".join(known[key] for key in FULL_NAME if key in known)
    known |= {"threads": job.threads, "runtime": job.config["runtime"]}
    # The unnamed params, which stand first: digests of the code.
    unnamed = len(job.params) - len(dict(job.params.items()))
    known["code"] = [text for text in list(job.params)[:unnamed] if text]
    known |= read_settings(text for _, text in job.params.items() if text)
    known |= dict(job.input.items()) | dict(job.output.items())
    # Some are of a part of a script's rules alone.
    needed = [
        name for name, parameter in parameters.items() if parameter.default is parameter.empty
    ]
    return {name: known[name] for name in parameters if name in known or name in needed}


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """The settings of texts `name=value` by name; a dotted name leads into a mapping.

    ["rows=5", "model.heads=2"]:   {"rows": 5, "model": {"heads": 2}}
    """
    settings: dict[str, Any] = {}
    for text in texts:
        path, value = text.split("=", 1)
        *parents, name = path.split(".")
        block = settings
        for parent in parents:
            block = block.setdefault(parent, {})
        block[name] = json.loads(value)
    return settings


def _shell_values(main: Callable[..., None], parameters: Any) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=sys.modules[main.__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in parameters.items():
        if name == "code":
            continue
        parser.add_argument(
            f"--{name}",
            type=str if parameter.annotation in _TEXTS else _json_or_text,
            nargs="+" if parameter.annotation in _LISTS else None,
            action="extend" if parameter.annotation in _LISTS else "store",
            required=parameter.default is parameter.empty,
            default=None if parameter.default is parameter.empty else parameter.default,
        )
    # Without rules, nobody asks later what code made a file.
    return vars(parser.parse_args()) | ({"code": []} if "code" in parameters else {})


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _typed(parameter: inspect.Parameter, value: Any) -> Any:
    if value is parameter.default:
        return value
    if parameter.annotation is Path:
        return Path(value)
    if parameter.annotation == list[Path]:
        return [Path(path) for path in ([value] if isinstance(value, str) else value)]
    if parameter.annotation == list[str] and isinstance(value, str):
        return [value]
    if parameter.annotation == (Path | None):
        return Path(value) if value else None
    if hasattr(parameter.annotation, "from_values"):
        return parameter.annotation.from_values(value, parameter.name)
    if parameter.annotation is int and str(value).isdecimal():
        return int(value)
    if not _fits(value, parameter.annotation):
        kind = inspect.formatannotation(parameter.annotation)
        raise UserError(f"{parameter.name}: {value!r} is no value of type {kind}; correct it")
    return value


def _fits(value: Any, annotation: Any) -> bool:
    """True if a plain value is what a parameter's annotation says."""
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind is Any:
        return True
    if kind is UnionType:
        return any(_fits(value, option) for option in inner)
    if kind is Literal:
        return value in inner
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    if kind is list:
        return isinstance(value, list) and all(_fits(part, inner[0]) for part in value)
    if kind is dict:
        return isinstance(value, dict) and all(_fits(part, inner[1]) for part in value.values())
    return isinstance(value, kind)
