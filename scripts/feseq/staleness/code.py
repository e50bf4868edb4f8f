"""What the code of a script says, as digests: comments, docstrings and formatting leave them alone.

Snakemake looks at a script's modification time alone, and not at the modules that it imports. As
params of a rule, these digests make its outputs stale when, and only when, the code that makes them
says something else.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "feseq"


def code_digests(script: Path) -> list[str]:
    """`path@digest` of a script and of each module that it reaches.

    Data files (JSON) beside a module count with it.
    """
    folder, reached = script.parent, reached_modules(script)
    data = {file for path in reached - {script} for file in path.parent.glob("*.json")}
    return [f"{path.relative_to(folder)}@{_digest(path)}" for path in sorted(reached | data)]


def reached_modules(script: Path) -> set[Path]:
    """Files of a script and of each module of the package beside it that it reaches.

    Reaches by import, at the top or inside a function, and by way of other modules.
    """
    reached, ahead = {script}, [script]
    while ahead:
        for module in _imports(script.parent, ahead.pop()):
            if module not in reached:
                reached.add(module)
                ahead.append(module)
    return reached


@cache
def _imports(folder: Path, path: Path) -> tuple[Path, ...]:
    """Files of the package's modules that `path` imports."""
    here = path.relative_to(folder).with_suffix("").parts
    names: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            module = base + tuple((node.module or "").split(".") if node.module else ())
            # What is imported may be a module itself.
            names += [module, *((*module, alias.name) for alias in node.names)]
    inside = [name for name in names if name[0] == PACKAGE]
    return tuple(dict.fromkeys(file for name in inside for file in _files(folder, name)))


def _files(folder: Path, name: tuple[str, ...]) -> Iterator[Path]:
    """The file of a module, and of the packages that are run on the way to it."""
    for depth in range(1, len(name) + 1):
        path = folder.joinpath(*name[:depth])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                yield file


@cache
def _digest(path: Path) -> str:
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    with_docstring = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, with_docstring) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:8]


def _plain(node: object) -> object:
    """A syntax tree as lists and text, without empty fields, which differ between Pythons."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return [type(node).__name__, *(field for field in fields if field[1] not in ("None", []))]
    return [_plain(part) for part in node] if isinstance(node, list) else repr(node)
