"""What YAML drops or changes without a word: keys that stand twice, numbers read as other ones."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

# 010 is 8, 1:30 is 90: octal and base 60, which YAML 1.1 has.
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_OTHER = re.compile(r"[-+]?(0[0-7_]*[1-7][0-7_]*|\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?)")


def text_mistakes(files: Iterable[Path | str]) -> Iterator[str]:
    """Such keys and numbers in config files, one line each with file and line."""
    for file in files:
        # As JSON, a file may hold tabs.
        text = Path(file).read_text(encoding="utf-8").expandtabs()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            yield from (f"{file}, line {line}: {mistake}" for line, mistake in _mistakes(root))


def _mistakes(root: yaml.Node) -> Iterator[tuple[int, str]]:
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
