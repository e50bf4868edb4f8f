"""Validate the config and its table, list all errors, and fill in defaults."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import UserError
from ..config.columns import Columns
from ..config.declared import defaults_of, settable_fields, validation_errors
from ..models.base import block_settings
from .model_kinds import is_model, model_error, settings_classes
from .schema import SPLIT_BY, Config

# The C loader takes a tenth of the time; some builds of PyYAML lack it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HINT = "config/README.md explains every key."
_NUMBER_HINT = (
    " YAML reads 1e-3 as text (write 1.0e-3); in a mapping of --config, Snakemake reads every "
    "number as text."
)


def load_table_file(
    config: Mapping[str, Any], folders: Sequence[Path] = ()
) -> tuple[dict[str, Any], list[Path]]:
    """Return (config, files read); in this config, `table` is the file's content, not its path.

    A relative path is looked up in `folders`, in order. If `table` is a mapping, nothing is read.
    Raises UserError if the file is missing or not YAML.
    """
    name = config.get("table")
    if not isinstance(name, str):
        return dict(config), []
    paths = [folder / name for folder in folders or [Path()]]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        looked_up = " and no ".join(dict.fromkeys(str(path.absolute()) for path in paths))
        raise UserError(
            f"table: there is no file {looked_up}; name the file that describes your table, such "
            f"as --config table=mine.yaml (config/README.md)"
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None
    return {**config, "table": content}, [path]


def checked_config(config: Mapping[str, Any], files: Iterable[Path | str] = ()) -> dict[str, Any]:
    """Check the config (its `table` must be a mapping), and return it with defaults filled in.

    Keys repeated in one of `files` are errors, too. Raises a UserError that lists all errors.
    """
    full: dict[str, Any] = {}
    if not (lines := [*repeated_keys(files), *validation_errors(Config, config)]):
        full = Config(**config).model_dump(mode="json", warnings=False)
        defaults = {name: defaults_of(keys) for name, keys in settings_classes().items()}
        full |= {name: values | full[name] for name, values in defaults.items()}
        lines = [*_contradictions(full)]
    if lines:
        listed = "\n".join(f"  - {line}" for line in dict.fromkeys(lines))
        hint = _NUMBER_HINT if re.search("valid (number|integer)", listed) else ""
        raise UserError(f"the config has errors:\n{listed}\n{_HINT}{hint}")
    return full


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield errors of keys that are valid alone, but missing or contradictory together."""
    missing = [
        f"sizes.{size}.{block}.{key}: required here or in {block}"
        for size in config["sizes"]
        for block, declared in settings_classes().items()
        for key in settable_fields(declared)
        if key not in block_settings(config, size, block)
    ]
    try:
        columns = Columns.from_config(config["table"]["columns"])
    except UserError as error:
        missing.append(str(error))
    if missing:
        yield from missing
        return
    for size, settings in config["sizes"].items():
        for model in settings["submission_models"]:
            if message := model_error(config, columns, size, model):
                yield message
    for model in filter(is_model, config["evaluation"]["baselines"]):
        # Not every size can train every baseline: only some list the max_len of len150.
        by_size = [model_error(config, columns, size, model) for size in config["sizes"]]
        if all(by_size):
            yield by_size[-1]
    split, table = config["sampling"]["split"], config["table"]
    for key, split_by_key in SPLIT_BY.items():
        if split == split_by_key and table["columns"][key] is None:
            yield f"sampling.split: {split} needs a column; set `columns.{key}` in the table file"
    if table["raw"]["source"] == "simulated" and table["simulation"] is None:
        yield "raw.source: simulated data need a block `simulation`; add it to the table file"


def repeated_keys(files: Iterable[Path | str]) -> Iterator[str]:
    """Yield a message for each repeated key, of which YAML would silently keep the last value."""
    for file in files:
        # A JSON file may hold tabs.
        text = Path(file).read_text(encoding="utf-8").expandtabs()
        nodes = [yaml.compose(text, Loader=_LOADER)]
        # The loop appends inner nodes to the list; an anchor and its aliases are one node.
        for node in nodes:
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                keys = [(key.tag, str(key.value)) for key, _ in inner]
                for i, (key, _) in enumerate(inner):
                    if keys[i] in keys[:i]:
                        line = key.start_mark.line + 1
                        yield f"{file}, line {line}: key {key.value!r} is repeated; keep only one"
                inner = [child for pair in inner for child in pair]
            nodes += [child for child in inner if child not in nodes]
