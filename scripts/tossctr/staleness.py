"""Params that make a step run again: its settings, and a digest of its code.

Snakemake stores the params of a job as a set of texts, and runs the job again when the set changes.
So each setting is a text with its name, and the code of a script is one digest. Comments,
docstrings, formatting, and the texts of errors and log lines are ignored.
"""

import ast
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import grimp

PACKAGE = "tossctr"
# Modules that digests leave out, with the modules that only they import, since they change no
# output: they show progress, check settings, or declare how a run uses the machine. `model_kinds`
# imports all model kinds; instead, a rule's digest has the entry points of its job's kind.
UNTRACKED = {
    "tossctr/common/progress.py",
    "tossctr/config/declared.py",
    "tossctr/catalog/schema.py",
    "tossctr/catalog/model_kinds.py",
    "tossctr/models/base.py",
}


def setting_params(**values: Any) -> dict[str, Callable[..., str]]:
    """Params of a Snakemake rule, by name: texts `name=value` of settings that change its output.

    A value may be a function of the wildcards; Ellipsis (`...`) means that the job lacks this
    setting. A mapping gives a param for each key, such as `sampling.seed=1`. The params are
    functions that return the text: Snakemake reads braces in a plain text as wildcards.
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


def untracked_params(**values: Any) -> dict[str, Callable[..., str]]:
    """Params of a Snakemake rule, such as the number of GPUs, whose change never reruns its jobs.

    They are functions of `resources`, and Snakemake does not compare such params.
    """
    return {
        name: lambda wildcards, resources, text=text: text(wildcards)
        for name, text in setting_params(**values).items()
    }


def column_role_params(roles: Mapping[str, Any]) -> dict[str, Callable[..., str]]:
    """Params of a Snakemake rule, by name, from the columns of each role.

    They are a text for each column, which Snakemake shows as the reason of a rerun, and a digest of
    all roles in order.
    """
    texts = [
        f"column {name}: {role}"
        for role, names in roles.items()
        for name in ([names] if isinstance(names, str) else names or ())
    ]
    texts.append(f"columns {digest(roles)}")
    return {f"column_{i}": lambda wildcards, text=text: text for i, text in enumerate(texts)}


def digest(value: Any) -> str:
    """A digest of a value that can be written as JSON."""
    return _hash(json.dumps(value, sort_keys=True).encode())


class CodeDigests:
    """Digests of the code of the scripts in `folder` and of the package's modules, by path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # No module's name begins with a dot, but an editor's lock file does.
        files = [*folder.glob("[!.]*.py"), *folder.glob(f"{PACKAGE}/**/[!.]*.py")]
        self.texts = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}
        self.imports = self._imports()

    def digest(self, script: str, *modules: str) -> str:
        """One digest of the code of a script, of `modules`, and of all modules that they import."""
        paths = [f"{module.replace('.', '/')}.py" for module in modules]
        return digest(self.by_file(f"{script}.py", *paths))

    def by_file(self, *names: str) -> list[str]:
        """Texts `path@digest` of files `names`, of their imports, and of JSON files beside them."""
        files = self.with_imports(*names, without=UNTRACKED)
        digests = {name: _digest(self.texts[name]) for name in files}
        for folder in {(self.folder / name).parent for name in digests if "/" in name}:
            for file in folder.glob("*.json"):
                digests[str(file.relative_to(self.folder))] = _hash(file.read_bytes())
        return [f"{name}@{digests[name]}" for name in sorted(digests)]

    def with_imports(self, *names: str, without: Collection[str] = ()) -> set[str]:
        """The files `names` and their imports, but not `without` and what only these import."""
        visited, to_visit = set[str](), [*names]
        while to_visit:
            name = to_visit.pop()
            if name not in visited and name not in without:
                visited.add(name)
                to_visit += self.imports[name]
        return visited

    def _imports(self) -> dict[str, set[str]]:
        """For each file, the files that it imports, and the `__init__.py` files on the way."""
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
            packages = {
                each[: dot.start()] for each in imported for dot in re.finditer(r"\.", each)
            }
            imports[name] = {files[each] for each in imported | packages if each in files}
        return imports


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


@cache
def _digest(text: bytes) -> str:
    """The digest of a module's source without docstrings and messages."""
    return _hash(ast.unparse(_RemoveTexts().visit(ast.parse(text))).encode())


class _RemoveTexts(ast.NodeTransformer):
    """Removes docstrings, other statements that are strings, and the texts of messages."""

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
