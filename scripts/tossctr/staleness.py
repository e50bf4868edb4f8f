"""When a step runs again: settings, and digests of code, as the params of its rule.

Snakemake stores the params of each job as a set of texts, and the job runs again when that set
changes. So a setting is a text with its name, and the code of a script is one digest. Comments,
docstrings, formatting and the messages of errors and of the log are ignored.
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import grimp

from .common.errors import UserError
from .common.files import read_json, write_json

PACKAGE = "tossctr"
# Modules that change no output; modules that only they import do not count either. They show
# progress, check settings, or declare how a run uses the machine. `model_kinds` imports all kinds;
# a rule names the entry points of its job's kind.
NOT_COUNTED = {
    "tossctr/common/progress.py",
    "tossctr/config/declared.py",
    "tossctr/catalog/schema.py",
    "tossctr/catalog/model_kinds.py",
    "tossctr/models/base.py",
}


def settings(**values: Any) -> dict[str, Callable[..., str]]:
    """Params by name, each a text `name=value` that makes a step stale when it changes.

    A value may be a function of the wildcards; an Ellipsis stands for a setting that the job lacks.
    A mapping gives a param for each of its keys, `sampling.seed=1`. Params are functions because
    Snakemake looks for wildcards between the braces of a plain text.
    """
    single: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            single |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            single[name] = value
    return {name.replace(".", "_"): partial(_text, name, value) for name, value in single.items()}


def _text(name: str, value: Any, wildcards: Any) -> str:
    value = value(wildcards) if callable(value) else value
    return "" if value is ... else f"{name}={json.dumps(value, sort_keys=True)}"


def not_counted(**values: Any) -> dict[str, Callable[..., str]]:
    """Params by name that make no step stale, such as the number of GPUs.

    Snakemake never compares params that depend on resources.
    """
    return {
        name: lambda wildcards, resources, text=text: text(wildcards)
        for name, text in settings(**values).items()
    }


def role_texts(roles: Mapping[str, Any]) -> dict[str, Callable[..., str]]:
    """Params of the columns' roles: a text for each column, and a digest of their order.

    With these, Snakemake names the columns that were added, removed or changed.
    """
    texts = [
        f"column {name}: {role}"
        for role, names in roles.items()
        for name in ([names] if isinstance(names, str) else names)
    ]
    texts.append(f"columns {digest(roles)}")
    return {f"column_{i}": lambda wildcards, text=text: text for i, text in enumerate(texts)}


def digest(value: Any) -> str:
    """A digest of a plain value."""
    return _hash(json.dumps(value, sort_keys=True).encode())


class Code:
    """The scripts in a folder and the package beside them, keyed by path in the folder.

    The file `kept` caches the digests by content, since computing them takes a second.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self.folder = folder
        # No module's name begins with a dot, but an editor's lock file does.
        files = [*folder.glob("[!.]*.py"), *folder.glob(f"{PACKAGE}/**/[!.]*.py")]
        self.texts = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}
        self.imports = self._imports()
        before: dict[str, str] = {}
        # If the file is missing or damaged, all digests are computed again.
        with suppress(OSError, UserError):
            before = read_json(kept) if kept else {}
        version = f"{sys.implementation.cache_tag} {_hash(Path(__file__).read_bytes())}"
        keys = {name: f"{version} {_hash(text, 32)}" for name, text in self.texts.items()}
        self.digests = {
            name: before.get(keys[name]) or _digest(text) for name, text in self.texts.items()
        }
        now = {keys[name]: known for name, known in self.digests.items()}
        if kept and now.keys() != before.keys():
            # In a read-only folder, digests are not cached.
            with suppress(OSError):
                write_json(kept, now)

    def digest(self, script: str, *modules: str) -> str:
        """One digest of a script, of modules, and of everything that they import."""
        paths = [f"{module.replace('.', '/')}.py" for module in modules]
        return digest(self.of(f"{script}.py", *paths))

    def of(self, *names: str) -> list[str]:
        """`path@digest` of files and of all modules that they import, directly or not.

        Data files (JSON) in a module's folder count, too.
        """
        digests = {name: self.digests[name] for name in self.reached(*names, without=NOT_COUNTED)}
        for folder in {(self.folder / name).parent for name in digests if "/" in name}:
            for file in folder.glob("*.json"):
                digests[str(file.relative_to(self.folder))] = _hash(file.read_bytes())
        return [f"{name}@{digests[name]}" for name in sorted(digests)]

    def reached(self, *names: str, without: Collection[str] = ()) -> set[str]:
        """The files and all modules that they import, directly or not, leaving out `without`."""
        reached, ahead = set[str](), [*names]
        while ahead:
            name = ahead.pop()
            if name not in reached and name not in without:
                reached.add(name)
                ahead += self.imports[name]
        return reached

    def _imports(self) -> dict[str, set[str]]:
        """The files that each file imports, and the `__init__.py` files that run before them."""
        graph = grimp.build_graph(PACKAGE, cache_dir=None, exclude_type_checking_imports=True)
        files = {_module(name): name for name in self.texts}
        imports = {}
        for module, name in files.items():
            imported = {module}
            if "." not in module:  # a script
                text = self.texts[name].decode()
                imported |= set(re.findall(r"^from (tossctr\.[\w.]+) import", text, re.M))
            elif module in graph.modules:  # not in a folder without __init__.py
                imported |= graph.find_modules_directly_imported_by(module)
            folders = {
                other[: dot.start()] for other in imported for dot in re.finditer(r"\.", other)
            }
            imports[name] = {files[other] for other in imported | folders if other in files}
        return imports


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _hash(content: bytes, digits: int = 8) -> str:
    return hashlib.sha256(content).hexdigest()[:digits]


def _digest(text: bytes) -> str:
    """The digest of a module's text without docstrings and messages."""
    return _hash(ast.unparse(_Plain().visit(ast.parse(text))).encode())


class _Plain(ast.NodeTransformer):
    """Removes docstrings and other string statements, and the texts of messages."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Remove a statement that is only a string."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        """Remove the arguments of errors (`UserError(...)`) and of log calls."""
        function = node.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        owner = getattr(getattr(function, "value", None), "id", "")
        if name.endswith("Error") or owner in ("logger", "logging"):
            return ast.Call(function, [], [])
        return self.generic_visit(node)
