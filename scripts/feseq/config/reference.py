"""config/config.schema.yaml and the tables of config/README.md, made from the declared settings.

By hand, from the repository: PYTHONPATH=scripts python -m feseq.config.reference
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from ..common.files import written_beside
from . import sampling, settings
from .declared import fields_of
from .mistakes import allowed
from .settings import SHARED, Config, Size, Sizes

_TABLE = re.compile(r"(<!-- keys of ([\w, ]+) -->\n)(?:\|.*\n)*")

_HEAD = "| key | values | default | meaning |\n|---|---|---|---|\n"


@cache
def meanings(declared: Any) -> dict[str, str]:
    """The text below each field of a declared class.

    pydantic would read it too, at each start of everything that imports the class.
    """
    source = ast.parse(textwrap.dedent(inspect.getsource(SHARED.get(declared, declared))))
    (found,) = source.body
    assert isinstance(found, ast.ClassDef)
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(found.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def write_reference(folder: Path) -> None:
    """Write both files in `folder`; of the README, only what stands below `<!-- keys of … -->`."""
    readme = folder / "README.md"
    for path, text in (
        (folder / "config.schema.yaml", schema_text()),
        (readme, with_tables(readme.read_text(encoding="utf-8"))),
    ):
        with written_beside(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def schema_text() -> str:
    """The JSON schema of the config, as YAML."""
    schema = Config.model_json_schema(schema_generator=_Untitled)
    declared = vars(sampling) | vars(settings)
    for name, part in {"Config": schema, **schema["$defs"]}.items():
        part["description"] = " ".join(part["description"].split())
        for key, meaning in meanings(declared[name]).items():
            if key in part["properties"]:
                described = part["properties"][key] | {"description": meaning}
                part["properties"][key] = dict(sorted(described.items()))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    lines = "# Made by `make reference` from scripts/feseq/config/settings.py and beside it.\n"
    return lines + yaml.safe_dump(head | schema, sort_keys=False, width=100, allow_unicode=True)


def with_tables(readme: str) -> str:
    """A README with its tables written again."""
    rows = {row[0]: row for row in key_rows()}

    def table(match: re.Match[str]) -> str:
        blocks = match[2].split(", ")
        listed = [row for path, row in rows.items() if path.split(".")[0] in blocks]
        lines = [_HEAD, *(f"| `{path}` | {' | '.join(others)} |\n" for path, *others in listed)]
        return match[1] + "".join(lines)

    return _TABLE.sub(table, readme)


def key_rows(declared: Any = Config, place: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Path, allowed values, default and meaning of each key."""
    schema = TypeAdapter(declared).json_schema()
    for name, field in fields_of(declared).items():
        path, block = place + name, field.annotation
        if declared is Config:
            block = SHARED.get(block, block)
        # Names that are the user's, or all alike.
        inner = Size if block is Sizes else next(iter(get_args(block)[1:]), None)
        if fields_of(inner):
            yield from key_rows(inner, f"{path}.<{name[:-1]}>.")
        elif fields_of(block) and block not in SHARED:
            yield from key_rows(block, f"{path}.")
        elif path != "model.max_len":
            values = allowed(schema["properties"][name], schema)
            default = "" if field.is_required() or block in SHARED else _default(field)
            yield path, values, default, meanings(declared).get(name, "")


def _default(field: FieldInfo) -> str:
    return f"`{json.dumps(field.get_default(call_default_factory=True))}`"


if __name__ == "__main__":
    write_reference(Path("config"))
