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
from pathlib import Path
from typing import Any, get_args, get_origin

# Must be set before anything loads OpenMP: its waiting threads then soon sleep instead of spinning.
# If other work shares the cores, a training is several times as fast; alone, a few percent slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

try:
    from pydantic import TypeAdapter, ValidationError
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `source .venv/bin/activate` first (`make run` builds it)")

from tossctr.common.errors import UserError
from tossctr.common.files import Output
from tossctr.common.machine import keep_freed_memory
from tossctr.common.signals import exit_on_sigterm

# Ctrl-C while modules are imported: Snakemake says what happened.
sys.excepthook = lambda kind, *error: (
    None if issubclass(kind, KeyboardInterrupt) else sys.__excepthook__(kind, *error)
)

# Wildcards that form the full name of a job's model, as its files store it: full/len150.
FULL_NAME = ("size", "model", "baseline", "name")
_LINE = "%%(asctime)s %%(levelname)s %s%%(message)s"


def run_script(main: Any, then: Callable[[Any], None] | None = None) -> None:
    """Call `main`, a function or class, with its signature's arguments, and `then` with its result.

    A job's inputs, outputs, wildcards and settings (its named params, each `name=value`) go to the
    parameters of the same name, as do `threads`, the digest of its `code`, the config block
    `runtime`, and the `full_name` of its model. At the shell, a script takes `--name value` for
    each parameter. Values are converted to the annotated types. A UserError, or an error of
    the operating system, ends the script with its message and no traceback.
    """
    # A job runs a copy of the script, with a global `snakemake` and the original's `__file__`.
    job = getattr(sys.modules["__main__"], "snakemake", None)
    script = Path(sys.modules["__main__"].__file__ or "")
    parameters = inspect.signature(main).parameters
    logs = list(job.log) if job is not None else []
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # else torchrun's parent has begun the log
        python = f"Python {platform.python_version()}, {sys.executable}"
        for path in logs:
            Path(path).write_text(f"{script.name} in {python}, on {platform.node()}\n")
    _log_to(logs, " ".join([script.stem, "/".join(job.wildcards)]).strip() if job else "")
    # Slurm ends jobs by SIGTERM; as an exception, it lets half-written files be removed.
    exit_on_sigterm()
    keep_freed_memory()
    try:
        values = _shell_values(parameters) if job is None else _job_values(job, parameters)
        result = TypeAdapter(main).validate_python(values)
        if then is not None:
            then(result)
    except (UserError, ValidationError) as error:
        logging.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        logging.error("interrupted; the same command continues with what is missing")
        sys.exit(130)
    except (OSError, MemoryError) as error:
        # Such as a full disk or a read-only folder: no fault of the code.
        logging.error("%s; fix that and run the same command again", str(error) or "out of memory")
        sys.exit(1)
    except Exception:
        logging.exception("%s failed", script.name)
        sys.exit(1)


def _log_to(files: Sequence[str], job: str) -> None:
    """Send the log to stderr, and append it to `files`, which several processes may share.

    On stderr, which other jobs share, each line names the `job`, unless that is ''.
    """
    stderr, *others = [logging.StreamHandler(), *map(logging.FileHandler, files)]
    name = f"[{job.replace('%', '%%')}] " if job else ""
    stderr.setFormatter(logging.Formatter(_LINE % name, "%H:%M:%S"))
    for handler in others:
        handler.setFormatter(logging.Formatter(_LINE % "", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[stderr, *others], force=True)
    # If a line cannot be written to a file, as on a full disk, stderr still has it.
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
    # An empty list stands for a file that the rule does not give.
    return {
        name: known[name]
        for name, parameter in parameters.items()
        if name in known and (known[name] != [] or parameter.default is parameter.empty)
    }


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """The settings in texts `name=value`, by name; a dotted name is a key of a nested mapping.

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
    """The command line's arguments; raises UserError if an output exists and --force is missing."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    for name, parameter in parameters.items():
        if name == "code":  # Files made at the shell record no code.
            continue
        annotations = (parameter.annotation, *get_args(parameter.annotation))
        is_mapping = get_origin(parameter.annotation) is Mapping
        many = any(get_origin(e) in (list, Sequence) for e in annotations) and not is_mapping
        options: dict[str, Any] = {"nargs": "+", "action": "extend"} if many else {}
        needed = parameter.default is parameter.empty
        parser.add_argument(f"--{name}", type=_json_or_text, required=needed, **options)
    named = ", ".join(f"--{name}" for name in outputs(parameters))
    parser.add_argument(
        "--force", action="store_true", default=False, help=f"overwrite existing {named}"
    )
    values = vars(parser.parse_args())
    force = values.pop("force")
    for name in outputs(parameters):
        if os.path.lexists(values.get(name, "")) and not force:
            raise UserError(
                f"{values[name]}: exists; give another --{name}, or --force to overwrite it"
            )
    return values


def outputs(parameters: Any) -> list[str]:
    """The parameters that name files to write."""
    return [
        name for name, p in parameters.items() if Output in (p.annotation, *get_args(p.annotation))
    ]


def _json_or_text(text: str) -> Any:
    return json.loads(text) if text == "null" or text[:1] == "{" else text
