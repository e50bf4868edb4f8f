"""Digests of the code that a script runs, its own and that of the modules that it imports.

As params of a rule, they make its outputs stale when the code changes: Snakemake itself compares
the modification time of the script alone. What only people read does not count: comments,
docstrings, formatting, and the text of errors, log lines and descriptions.
"""

import ast
import hashlib
import json
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..common.files import written_beside

PACKAGE = "feseq"
# Modules that change no output: they show what is going on, refuse what is wrong, or say how a run
# uses the machine.
NOT_COUNTED = (
    "common/progress.py",
    "config/mistakes.py",
    "config/runtime.py",
    "predict/outcome.py",
    "train/tensorboard.py",
)


def code_digests(script: Path, kept: Path | None = None) -> list[str]:
    """`path@digest` of a script and of each module that it reaches, but those of `NOT_COUNTED`.

    Data files (JSON) beside a module count with it. The file `kept`, if given, holds what was
    found out from run to run, since that takes half a second for all scripts.
    """
    folder, reached = script.parent, reached_modules(script.parent, script, kept=kept)
    reached -= {folder / PACKAGE / name for name in NOT_COUNTED}
    data = {file for path in reached - {script} for file in path.parent.glob("*.json")}
    digests = {path: _module(folder, path, kept).digest for path in reached}
    digests |= {path: _hash(path.read_bytes()) for path in data}
    _known(kept).save()
    return [f"{path.relative_to(folder)}@{digests[path]}" for path in sorted(digests)]


def reached_modules(folder: Path, *files: Path, kept: Path | None = None) -> set[Path]:
    """The files and each module of the package in `folder` that they reach.

    Files reach by import, at the top or inside a function, and by way of other modules.
    """
    reached, ahead = set(files), list(files)
    while ahead:
        for module in _imports(folder, ahead.pop(), kept):
            if module not in reached:
                reached.add(module)
                ahead.append(module)
    return reached


class _Module(NamedTuple):
    """What is known of a module whose content has the hash `content`."""

    content: str
    digest: str
    # Dotted names in the package that it may import.
    names: list[str]


class _Known:
    """What is known of modules by path, kept in a file that only this code and Python believe."""

    def __init__(self, file: Path | None) -> None:
        self.file, self.is_new = file, False
        self.by = _hash(Path(__file__).read_bytes()) + str(sys.implementation.cache_tag)
        self.modules: dict[str, _Module] = {}
        # Without it, or if it is damaged, all is found out again.
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            found = json.loads(file.read_text()) if file else {}
            if found["by"] == self.by:
                self.modules = {path: _Module(*known) for path, known in found["modules"].items()}

    def save(self) -> None:
        """Write the file if there is news; a folder that cannot be written does without."""
        if self.file and self.is_new:
            with suppress(OSError), written_beside(self.file) as temporary:
                temporary.write_text(json.dumps({"by": self.by, "modules": self.modules}))
        self.is_new = False


_known = cache(_Known)


@cache
def _module(folder: Path, path: Path, kept: Path | None) -> _Module:
    text, known, place = path.read_bytes(), _known(kept), path.relative_to(folder)
    content = hashlib.sha256(text).hexdigest()
    module = known.modules.get(str(place))
    if module is None or module.content != content:
        tree = ast.parse(text)
        module = _Module(content, _hash(repr(_plain(tree)).encode()), _imported(tree, place))
        known.modules[str(place)], known.is_new = module, True
    return module


@cache
def _imports(folder: Path, path: Path, kept: Path | None) -> tuple[Path, ...]:
    """Files of the package's modules that `path` imports."""
    names = _module(folder, path, kept).names
    return tuple(dict.fromkeys(file for name in names for file in _files(folder, name)))


def _imported(tree: ast.Module, place: Path) -> list[str]:
    """Dotted names in the package that the module at `place` may import."""
    here = place.with_suffix("").parts
    names: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            module = base + tuple((node.module or "").split(".") if node.module else ())
            # What is imported may be a module itself.
            names += [module, *((*module, alias.name) for alias in node.names)]
    return list(dict.fromkeys(".".join(name) for name in names if name[:1] == (PACKAGE,)))


@cache
def _files(folder: Path, name: str) -> tuple[Path, ...]:
    """The file of a module, and of the packages that are run on the way to it."""
    package = name.rpartition(".")[0]
    path = folder / name.replace(".", "/")
    own = filter(Path.is_file, (path.with_suffix(".py"), path / "__init__.py"))
    return (*(_files(folder, package) if package else ()), *own)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _plain(node: object, is_message: bool = False) -> object:
    """A syntax tree as lists and text, without what only people read.

    In a message all but its text stays, such as the values that it names. Empty fields go because
    they differ between versions of Python.
    """
    if isinstance(node, list):
        return [_plain(part, is_message) for part in node if not _is_read_only(part, is_message)]
    if not isinstance(node, ast.AST):
        return repr(node)
    is_message = is_message or _is_message(node)
    plain: list[object] = [type(node).__name__]
    for name in node._fields:
        value = getattr(node, name, None)
        # A context, Load or Store, follows from the place.
        if value is None or name == "ctx" or _is_read_only(value, is_message):
            continue
        if field := _plain(value, is_message):
            plain.append((name, field))
    return plain


def _is_read_only(node: object, is_message: bool) -> bool:
    """True for a docstring or another text that stands alone, and for a message's text."""
    if isinstance(node, ast.Expr):
        node, is_message = node.value, True
    if is_message and isinstance(node, ast.JoinedStr):
        return all(isinstance(part, ast.Constant) for part in node.values)
    return is_message and isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_message(node: ast.AST) -> bool:
    """True for what tells a person something, and for nothing else.

    That is `raise`, the making of an error (`UserError(...)`), calls of a logger, `warnings.warn`,
    `progress` and the ranks' `agree`, and `description=`.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id.endswith("Error") or node.func.id == "progress"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        name = owner.id if isinstance(owner, ast.Name) else ""
        is_warning = (name, node.func.attr) == ("warnings", "warn")
        return name in ("logger", "logging") or is_warning or node.func.attr == "agree"
    return isinstance(node, ast.Raise) or getattr(node, "arg", None) == "description"
