"""The check of the config: it lists all mistakes at once, and fills in defaults."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import UserError
from ..config.columns import Columns
from ..config.declared import defaults_of, mistakes, settable
from ..config.sizes import block_settings
from .families import blocks, is_model
from .models import model_mistakes
from .settings import Config

# In C, where PyYAML was built with it: a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def checked_config(config: Mapping[str, Any], files: Iterable[Path | str] = ()) -> dict[str, Any]:
    """The config, with defaults for keys that it leaves out.

    Raises one UserError that lists every mistake in it, and in the text of its `files`.
    """
    lines = [*repeated_keys(files), *mistakes(Config, config)]
    if not lines:
        full = _with_defaults(config)
        lines += dict.fromkeys(_contradictions(full))
    if lines:
        count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        listed = "\n".join(f"  - {line}" for line in lines)
        raise UserError(
            f"the config has {count}:\n{listed}\nconfig/README.md explains every key. YAML reads "
            f"1e-3 as text (write 1.0e-3), as Snakemake does numbers in a mapping of --config."
        )
    return full


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    full = Config(**config).model_dump(mode="json", warnings=False)
    return full | {name: defaults_of(keys) | full[name] for name, keys in blocks().items()}


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes between keys each of which is valid."""
    missing = [
        f"sizes.{size}.{block}.{key}: Field required, here or in {block}"
        for size in config["sizes"]
        for block, declared in blocks().items()
        for key in settable(declared)
        if key not in block_settings(config, size, block)
    ]
    try:
        columns = Columns.from_config(config["columns"])
    except UserError as error:
        missing.append(str(error))
    if missing:
        yield from missing
        return
    for size, settings in config["sizes"].items():
        for model in settings["submission_models"]:
            yield from model_mistakes(config, columns, size, model)
    for model in filter(is_model, config["evaluation"]["baselines"]):
        # Not every size can train every baseline: histories of len150 are listed for some.
        by_size = [[*model_mistakes(config, columns, size, model)] for size in config["sizes"]]
        if all(by_size):
            yield from by_size[-1]
    split = config["sampling"]["split"]
    if split["last"] is not None and split["time"] is None:
        yield f"sampling.split.last: is {split['last']}, and sampling.split.time names no column"
    if split["time"] in columns.ragged:
        yield f"sampling.split.time: {split['time']!r} is a history, and has no order in time"


def repeated_keys(files: Iterable[Path | str]) -> Iterator[str]:
    """Keys that occur twice in a mapping of a YAML file; readers silently keep the last one."""
    for file in files:
        # As JSON, a file may hold tabs.
        text = Path(file).read_text(encoding="utf-8").expandtabs()
        nodes = [yaml.compose(text, Loader=_LOADER)]
        # It grows as it is walked; an anchor and its aliases are one node.
        for node in nodes:
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                keys = [(key.tag, str(key.value)) for key, _ in inner]
                for i, (key, _) in enumerate(inner):
                    if keys[i] in keys[:i]:
                        line = key.start_mark.line + 1
                        yield f"{file}, line {line}: key {key.value!r} stands above too; keep one"
                inner = [child for pair in inner for child in pair]
            nodes += [child for child in inner if child not in nodes]
