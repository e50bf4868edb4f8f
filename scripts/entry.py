"""Runs a function of the library, for a Snakemake job or for a person at the shell."""

import argparse
import inspect
import json
import logging
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

# Before anything loads OpenMP, whose threads wait for one another in loops: they soon go to sleep
# instead. Beside other work on the same cores a training is several times as fast, alone a few
# percent slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

try:
    from pydantic import TypeAdapter, ValidationError
except ModuleNotFoundError as error:
    sys.exit(f"{error}: `source .venv/bin/activate`, which `make run` builds, comes first")

from tossctr.common.errors import UserError
from tossctr.common.files import Output
from tossctr.common.machine import keep_freed_memory
from tossctr.common.signals import exit_on_sigterm

# Wildcards that name the model of a job, as files say whose they are: full/len150.
FULL_NAME = ("size", "model", "baseline", "name")
_LINE = "%%(asctime)s %%(levelname)s %s%%(message)s"


def run_script(main: Callable[..., Any], then: Callable[[Any], None] | None = None) -> None:
    """Call `main` with what its signature names, and `then` with its result.

    A job's inputs, outputs, wildcards and settings (its named params, each `name=value`) go to the
    parameters of the same name, as do `threads`, the digest of its `code`, the config block
    `runtime`, and the `full_name` of its model. At the shell, a script takes `--name value` for
    each parameter. Values become what the parameters' annotations say. A UserError, or an error of
    the operating system, ends the script with its message and no traceback.
    """
    # A job has a global `snakemake`, and runs a copy of the script, which knows the original.
    job = getattr(sys.modules["__main__"], "snakemake", None)
    script = Path(sys.modules["__main__"].__file__ or "")
    parameters = inspect.signature(main).parameters
    logs = list(job.log) if job is not None else []
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # else torchrun's parent has begun the log
        python = f"Python {platform.python_version()}, {sys.executable}"
        for path in logs:
            Path(path).write_text(f"{script.name} in {python}, on {platform.node()}\n")
    _log_to(logs, " ".join([script.stem, "/".join(job.wildcards)]).strip() if job else "")
    # Slurm's way to end a job; as an exception it lets half-written files be removed.
    exit_on_sigterm()
    keep_freed_memory()
    values = _shell_values(parameters) if job is None else _job_values(job, parameters)
    try:
        force = values.pop("force", False)
        typed = {name: _typed(parameters[name], value) for name, value in values.items()}
        if job is None:
            _check_outputs(typed, parameters, force)
        result = main(**typed)
        if then is not None:
            then(result)
    except UserError as error:
        logging.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        logging.error("interrupted; the same command goes on with what is missing")
        sys.exit(130)
    except (OSError, MemoryError) as error:
        # A full disk, a read-only folder: the machine's state, no fault of the code.
        logging.error("%s; fix that and run the same command again", str(error) or "out of memory")
        sys.exit(1)
    except Exception:
        logging.exception("%s failed", script.name)
        sys.exit(1)


def _log_to(files: Sequence[str], job: str) -> None:
    """Send the log to stderr, and append it to `files`, which several processes may share.

    On stderr, where other jobs write too, each line names the `job`, if it is one.
    """
    stderr, *others = [logging.StreamHandler(), *map(logging.FileHandler, files)]
    name = f"[{job.replace('%', '%%')}] " if job else ""
    stderr.setFormatter(logging.Formatter(_LINE % name, "%H:%M:%S"))
    for handler in others:
        handler.setFormatter(logging.Formatter(_LINE % "", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[stderr, *others], force=True)
    # Where the disk is full, so that a line cannot be written to the file, stderr still has it.
    logging.raiseExceptions = False


def _job_values(job: Any, parameters: Any) -> dict[str, Any]:
    known: dict[str, Any] = dict(job.wildcards.items())
    known["full_name"] = "/".join(known[key] for key in FULL_NAME if key in known)
    known |= {"threads": job.threads, "runtime": job.config["runtime"]}
    params = dict(job.params.items())
    known["code"] = params.get("code", "").removeprefix("code ")
    # Other params are for people, or only make the job stale.
    known |= read_settings(text for text in params.values() if re.match(r"[\w.]+=", text))
    known |= dict(job.input.items()) | dict(job.output.items())
    return {name: known[name] for name in parameters if name in known}


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


def _shell_values(parameters: Any) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in parameters.items():
        if name == "code":  # Files made at the shell record no code.
            continue
        annotation, needed = parameter.annotation, parameter.default is parameter.empty
        options: dict[str, Any] = {"required": needed, "type": _json_or_text}
        options |= {} if needed else {"default": parameter.default}
        if {str, Path} & _types(annotation):
            options["type"] = str
            options |= {"nargs": "+", "action": "extend"} if list in _types(annotation) else {}
        parser.add_argument(f"--{name}", **options)
    named = ", ".join(f"--{name}" for name in _outputs(parameters))
    parser.add_argument("--force", action="store_true", help=f"overwrite existing {named}")
    return vars(parser.parse_args())


def _check_outputs(values: Mapping[str, Any], parameters: Any, force: bool) -> None:
    """Raise UserError if an output exists, unless by `force`: only a workflow knows its files."""
    for name in _outputs(parameters):
        if values[name] is not None and os.path.lexists(values[name]) and not force:
            raise UserError(
                f"{values[name]}: exists; give another --{name}, or --force to overwrite it"
            )


def _outputs(parameters: Any) -> list[str]:
    """The parameters that name files to write."""
    return [
        name for name, p in parameters.items() if Output in (p.annotation, *get_args(p.annotation))
    ]


def _json_or_text(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    return text


def _types(annotation: Any) -> set[Any]:
    """What an annotation allows: classes, with `list` for any sequence; a mapping is JSON."""
    origin = get_origin(annotation)
    if origin in (dict, Mapping):
        return {dict}
    outer = list if origin in (list, Sequence) else annotation
    return {outer}.union(*map(_types, get_args(annotation)))


def _typed(parameter: inspect.Parameter, value: Any) -> Any:
    """A value as the parameter's annotation says."""
    types = _types(parameter.annotation)
    if value is parameter.default:
        return value
    for each in types:
        if hasattr(each, "from_values"):
            return each.from_values(value, parameter.name)
    if parameter.annotation is int and isinstance(value, str) and value.isdecimal():
        value = int(value)
    elif list in types and isinstance(value, str):
        value = [value]
    elif Path in types and list not in types and not value:  # a rule gives no file as a list
        value = None
    try:
        # A path may be a text; other types are strict.
        adapter = TypeAdapter(parameter.annotation)
        return adapter.validate_python(value, strict=Path not in types)
    except ValidationError as error:
        texts = (": ".join(map(str, (*each["loc"], each["msg"]))) for each in error.errors())
        raise UserError(f"{parameter.name}: {value!r} is not valid: {'; '.join(texts)}") from None
