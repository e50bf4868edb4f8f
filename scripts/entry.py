"""Run a function of the library, in a Snakemake job or from the shell."""

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

# Lets waiting OpenMP threads sleep soon instead of spinning; must be set before OpenMP loads. If
# other work shares the cores, a training is several times faster, otherwise a few percent slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

try:
    from pydantic import TypeAdapter, ValidationError
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `source .venv/bin/activate` first (`make run` builds it)")

from tossctr.common.errors import UserError
from tossctr.common.files import Output
from tossctr.common.machine import keep_freed_memory
from tossctr.common.signals import exit_on_sigterm

# No traceback after Ctrl-C during imports.
sys.excepthook = lambda kind, *error: (
    None if issubclass(kind, KeyboardInterrupt) else sys.__excepthook__(kind, *error)
)

# Wildcards that form the full name of a job's model, such as full/len150.
NAME_WILDCARDS = ("size", "model", "baseline", "name")
_LINE = "%%(asctime)s %%(levelname)s %s%%(message)s"


def run_script(main: Any, on_result: Callable[[Any], None] | None = None) -> None:
    """Call `main`, a function or class, with arguments from a Snakemake job or from the shell.

    In a Snakemake job, a parameter of `main` gets the job's input, output, wildcard or setting of
    the same name. Parameters can also be named `threads`, `code` (a digest of the code), `runtime`
    (a block of the config) or `full_name` (the model, such as full/len150). At the shell,
    parameters are options `--name value`. Values are converted to the annotated types.

    `on_result` is called with the result of `main`. After a UserError, or an error of the operating
    system, the script ends with the message and no traceback.
    """
    # Snakemake runs a copy of the script, with a global `snakemake` and the original `__file__`.
    job = getattr(sys.modules["__main__"], "snakemake", None)
    script = Path(sys.modules["__main__"].__file__ or "")
    parameters = inspect.signature(main).parameters
    logs = list(job.log) if job is not None else []
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # else torchrun's parent has started the log
        python = f"Python {platform.python_version()}, {sys.executable}"
        for path in logs:
            Path(path).write_text(f"{script.name} in {python}, on {platform.node()}\n")
    _log_to(logs, " ".join([job.rule, "/".join(job.wildcards)]).strip() if job else "")
    # Slurm ends jobs with SIGTERM; as an exception, it lets cleanup code remove incomplete files.
    exit_on_sigterm()
    keep_freed_memory()
    try:
        values = _shell_values(main) if job is None else _job_values(job, parameters)
        result = TypeAdapter(main).validate_python(values)
        if on_result is not None:
            on_result(result)
    except UserError as error:
        logging.error("%s", error)
        sys.exit(1)
    except ValidationError as error:
        for detail in error.errors():
            name = ".".join(map(str, detail["loc"]))
            logging.error("%s: %s, not %r", name, detail["msg"], detail["input"])
        sys.exit(1)
    except KeyboardInterrupt:
        logging.error("interrupted; run the same command to continue")
        sys.exit(130)
    except (OSError, MemoryError) as error:
        # Errors of the environment, such as a full disk or a read-only folder.
        logging.error("%s; fix this and run the same command again", str(error) or "out of memory")
        sys.exit(1)
    except Exception:
        logging.exception("%s failed", script.name)
        sys.exit(1)


def _log_to(files: Sequence[str], job: str) -> None:
    """Send the log to stderr and to `files`; several processes may append to a file.

    On stderr, which jobs share, each line names the `job` unless `job` is ''.
    """
    stderr, *file_handlers = [logging.StreamHandler(), *map(logging.FileHandler, files)]
    name = f"[{job.replace('%', '%%')}] " if job else ""
    stderr.setFormatter(logging.Formatter(_LINE % name, "%H:%M:%S"))
    for handler in file_handlers:
        handler.setFormatter(logging.Formatter(_LINE % "", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[stderr, *file_handlers], force=True)
    # Do not fail if a file cannot be written (a full disk): stderr still has the lines.
    logging.raiseExceptions = False


def _job_values(job: Any, parameters: Any) -> dict[str, Any]:
    available: dict[str, Any] = dict(job.wildcards.items())
    available["full_name"] = "/".join(available[key] for key in NAME_WILDCARDS if key in available)
    available |= {"threads": job.threads, "runtime": job.config["runtime"]}
    params = dict(job.params.items())
    available["code"] = params.get("code", "").removeprefix("code ")
    # Params without `=` are not settings; they only make the job stale.
    available |= read_settings(text for text in params.values() if re.match(r"[\w.]+=", text))
    available |= dict(job.input.items()) | dict(job.output.items())
    # An empty list means that the rule has no such file.
    return {
        name: available[name]
        for name, parameter in parameters.items()
        if name in available and (available[name] != [] or parameter.default is parameter.empty)
    }


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Parse texts `name=<JSON value>` into a dict; a dotted name becomes a nested dict.

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


def _shell_values(main: Any) -> dict[str, Any]:
    """The command line's arguments; raises UserError if an output exists, without --force."""
    parameters = inspect.signature(main).parameters
    parser = argparse.ArgumentParser(
        description=f"{sys.modules['__main__'].__doc__}\n{inspect.getdoc(main)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    for name, parameter in parameters.items():
        if name == "code":  # Scripts at the shell do not record a digest of the code.
            continue
        annotations = (parameter.annotation, *get_args(parameter.annotation))
        is_mapping = get_origin(parameter.annotation) is Mapping
        many = any(get_origin(e) in (list, Sequence) for e in annotations) and not is_mapping
        options: dict[str, Any] = {"nargs": "+", "action": "extend"} if many else {}
        needed = parameter.default is parameter.empty
        parser.add_argument(f"--{name}", type=_json_or_text, required=needed, **options)
    named = ", ".join(f"--{name}" for name in output_names(parameters))
    parser.add_argument(
        "--force", action="store_true", default=False, help=f"overwrite existing {named}"
    )
    values = vars(parser.parse_args())
    force = values.pop("force")
    for name in output_names(parameters):
        if os.path.lexists(values.get(name, "")) and not force:
            raise UserError(
                f"{values[name]}: exists; change --{name}, or add --force to overwrite it"
            )
    return values


def output_names(parameters: Any) -> list[str]:
    """The names of a function's `parameters` that are files to write."""
    return [
        name for name, p in parameters.items() if Output in (p.annotation, *get_args(p.annotation))
    ]


def _json_or_text(text: str) -> Any:
    return json.loads(text) if text == "null" or text[:1] == "{" else text
