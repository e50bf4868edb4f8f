"""The target that a user meant, where no rule makes the one that was asked for."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from ..common.errors import nearest
from ..config.names import BASELINES, BLEND
from .families import is_model
from .models import submission_models


class TargetHint(logging.Filter):
    """A filter of Snakemake's log: its error that no rule makes a target gets the nearest target.

    Only the log has what the call asks for. `rules` are Snakemake's.
    """

    def __init__(self, config: Mapping[str, Any], rules: Iterable[Any]) -> None:
        super().__init__()
        self.config, self.rules = config, rules

    def filter(self, record: logging.LogRecord) -> bool:
        """True; a hint is added to the record's message."""
        missing = re.search(r"No rule to produce (\S+) \(", str(record.msg))
        if missing and (meant := nearest(missing[1], [*self.targets(missing[1])])):
            record.msg = f"{record.msg}\nDid you mean {meant}?"
        return True

    def targets(self, asked: str) -> Iterator[str]:
        """Rules and files to ask for, of the config's sizes and models or models in `asked`."""
        sizes = [*self.config["sizes"]]
        models = {model for size in sizes for model in submission_models(self.config, size)}
        models |= {part for part in asked.split("/") if is_model(part)}
        values = {
            "size": sizes,
            "model": sorted(models),
            "name": sorted({*models, BLEND, *BASELINES}),
            "baseline": BASELINES,
        }
        for rule in self.rules:
            if not rule.has_wildcards():
                yield rule.name
            for output in rule.output:
                names = sorted(output.get_wildcard_names())
                if values.keys() >= {*names}:
                    for chosen in product(*(values[name] for name in names)):
                        yield str(output.apply_wildcards(dict(zip(names, chosen))))
