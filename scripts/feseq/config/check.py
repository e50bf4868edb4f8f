"""Checking the config: all mistakes at once, each with its place, value, allowed range and cure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import UserError
from .catalog import model_mistakes, size_settings
from .columns import Columns
from .declared import fields_of
from .mistakes import mistakes
from .model import ModelKeys
from .names import is_boosting
from .settings import Config, with_defaults
from .space import space_mistakes
from .train import TrainKeys

# In C, where PyYAML was built with it: a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# 010 is 8, 1:30 is 90: octal and base 60, which YAML 1.1 has.
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_OTHER = re.compile(r"[-+]?(0[0-7_]*[1-7][0-7_]*|\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?)")


def checked_config(config: Mapping[str, Any], files: Iterable[Path | str] = ()) -> dict[str, Any]:
    """The config, with defaults for keys that are not there.

    Raises one UserError that lists every mistake in it, and in the text of the `files` it is from.
    """
    full = with_defaults(config)
    found = [*text_mistakes(files), *mistakes(Config, full)]
    space = full["tuning"].get("space") if isinstance(full["tuning"], Mapping) else None
    if isinstance(space, Mapping):
        found += space_mistakes(space)
    found = found or list(dict.fromkeys(_contradictions(full)))
    if found:
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        listed = "\n".join(f"  - {mistake}" for mistake in found)
        raise UserError(f"the config has {count}:\n{listed}\nconfig/README.md explains every key.")
    return full


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes between keys that are sound by themselves."""
    complete = []
    for size in config["sizes"]:
        merged = size_settings(config, size)
        missing = []
        for block, keys in (("model", ModelKeys), ("train", TrainKeys)):
            if names := [key for key in fields_of(keys) if key not in merged[block]]:
                place = f"sizes.{size}.{block}"
                missing.append(f"{block}: {', '.join(names)} set neither here nor in {place}")
        yield from missing
        complete += [] if missing else [size]
    try:
        columns = Columns.from_config(config["columns"])
    except UserError as error:
        yield str(error)
        return
    for size, settings in config["sizes"].items():
        for model in settings["submission_models"] if size in complete else ():
            yield from model_mistakes(config, columns, size, model)
        weights = settings["submission_weights"]
        if isinstance(weights, list) and len(weights) != len(settings["submission_models"]):
            yield (
                f"sizes.{size}.submission_weights: {len(weights)} weights for "
                f"{len(settings['submission_models'])} submission_models; give one each, or null"
            )
    split = config["sampling"]["split"]
    if split["last"] is not None and split["time"] is None:
        yield (
            f"sampling.split.last: {split['last']}, and sampling.split.time names no column whose "
            f"last values that could be; name one, or set last to null"
        )
    evaluation = config["evaluation"]
    for size in evaluation["sizes"]:
        for model in filter(is_boosting, evaluation["baselines"]):
            yield from model_mistakes(config, columns, size, model)
    for key, names in (("slices", evaluation["slices"]), ("gauc", [evaluation["gauc"]])):
        for name in names or []:
            if name is not None and name not in columns.categorical:
                yield (
                    f"evaluation.{key}: {name!r} is no categorical column in use; these are "
                    f"{', '.join(columns.categorical)}"
                )


def text_mistakes(files: Iterable[Path | str]) -> Iterator[str]:
    """What YAML drops or changes without a word, one line each with file and line.

    That is keys that stand twice, and numbers that it reads as other ones.
    """
    for file in files:
        # As JSON, a file may hold tabs.
        text = Path(file).read_text(encoding="utf-8").expandtabs()
        root = yaml.compose(text, Loader=_LOADER)
        if root is not None:
            yield from (f"{file}, line {line}: {mistake}" for line, mistake in _text_mistakes(root))


def _text_mistakes(root: yaml.Node) -> Iterator[tuple[int, str]]:
    # By identity, since an anchor and its aliases are one node.
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _twice(node)
            nodes += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            nodes += reversed(node.value)
        elif node.tag in _NUMBERS and _OTHER.fullmatch(node.value):
            number = yaml.safe_load(node.value)
            yield (
                _line(node),
                f"YAML reads {node.value} as {number}; write {number}, or {node.value!r} in quotes "
                f"for text",
            )


def _twice(mapping: yaml.MappingNode) -> Iterator[tuple[int, str]]:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        name = key.tag, str(key.value)
        if name in lines:
            yield _line(key), f"key {key.value!r} stands in line {lines[name]} too; keep one"
        lines.setdefault(name, _line(key))


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
