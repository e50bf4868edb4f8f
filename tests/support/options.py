"""All options that change a result, and cases of random values.

The values come from the declarations, but for those that stand in VALUES.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, get_args

import numpy as np
from pydantic import TypeAdapter

from support.configs import put
from tossctr.catalog.check import checked_config
from tossctr.catalog.model_kinds import check_job
from tossctr.catalog.schema import ColumnRoles, Group, SamplingConfig, Size, Submission, Table
from tossctr.common.errors import UserError
from tossctr.config.columns import Columns
from tossctr.config.declared import fields_of, settable_fields
from tossctr.models.boosting.boosting import BoostingConfig
from tossctr.models.feseq.network_settings import ModelConfig, Monitored, TrainConfig

DECLARED = {
    "model": ModelConfig,
    "train": TrainConfig,
    "boosting": BoostingConfig,
    "sampling": SamplingConfig,
    "submission": Submission,
    "table": Table,
    "table.columns": ColumnRoles,
    "table.columns.groups.main": Group,
    "sizes.toy": Size,
}
# These stand at the top, or below another name.
ELSEWHERE = {
    "table.raw",
    "table.simulation",
    "table.columns",
    "table.columns.groups",
    *(f"sizes.toy.{name}" for name in DECLARED),
}
FESEQ, BOOSTING = "feseq", "boosting"
METRICS = get_args(Monitored)
# Where the declaration gives none, or none that suit so small a table.
VALUES: dict[str, list[Any]] = {
    "model.embedding_dim": [2, 3],
    "model.mlp": [[], [4]],
    "train.batch_size": [16, 64],
    "train.learning_rate": [1e-3, 0.05],
    "train.embedding_rate_factor": [1, 2],
    # Every metric is in one of these.
    "train.monitor": [
        {name: -1 if name.endswith("loss") else 1 for name in METRICS[i::4]} for i in range(4)
    ],
    # tests/models/feseq/test_processes.py has others.
    "train.gpus": [1],
    "train.seed": [0, 2**64 - 1],
    "boosting.trees": [1, 6],
    "boosting.min_child_weight": [0, 3],
    "boosting.features": ["auto", [], ["histories", "clicks", "ids"]],
    "boosting.bags": [1, 2],
    "boosting.seed": [0, 2**31 - 1],
    "sampling.valid_share": [0.2, 0.4],
    "sampling.seed": [0, 2**64 - 1],
    "table.columns.label": ["bought", "bought_text"],
    "table.columns.id": ["visit", "number"],
    "table.columns.time": ["day"],
    "table.columns.group": ["user"],
    "table.columns.use": [["main"], ["main", "more"]],
    "table.columns.groups.main.profile": [[], ["country", "hour"]],
    "table.columns.groups.main.context": [[], ["channel"], ["channel", "shop"]],
    "table.columns.groups.main.numeric": [[], ["price", "age", "shop"]],
    "table.columns.groups.main.sequences": [
        {},
        {"events": "item"},
        {"events": "item", "clips": "film"},
    ],
    "table.columns.groups.main.times": [{}, {"event_times": "at"}],
    # Of the table's sequences.
    "table.columns.groups.main.separator": [","],
    "table.columns.groups.main.share_embedding": [[], ["events"]],
    "sizes.toy.rows": [None, 140],
    "sizes.toy.max_len": [[1], [4]],
    "sizes.toy.submission_models": [[FESEQ], [BOOSTING], [FESEQ, BOOSTING]],
    "sizes.toy.submission_weights": ["auto", None, [1, 3]],
}
BESIDE = {
    "table.raw": {"train": "train.parquet"},
    "table.columns.groups.more": {"profile": ["is_new"], "numeric": ["score"]},
    "evaluation.baselines": ["constant"],
}

# The first have every value, all of them nearly every pair of values.
FIRST, CASES = 8, 24

Case = dict[str, Any]


def options() -> dict[str, list[Any]]:
    """The values of every declared option, by its dotted name."""
    return {
        path: VALUES.get(path) or _values(schema, default)
        for block, declared in DECLARED.items()
        for path, schema, default in _fields(block, declared)
    }


def _fields(block: str, declared: Any) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Dotted name, JSON schema and default of each option of a declared class."""
    schemas = TypeAdapter(declared).json_schema()["properties"]
    for name, field in settable_fields(declared).items():
        path = f"{block}.{name}"
        if path not in ELSEWHERE:
            if fields_of(field.annotation):
                yield from _fields(path, field.annotation)
            else:
                yield path, schemas[name], field.default


def _values(schema: dict[str, Any], default: Any = None) -> list[Any]:
    """Some values: all of a choice, two of a number, of lists of choices some."""
    if "anyOf" in schema:
        return [value for each in schema["anyOf"] for value in _values(each, default)]
    least, most = schema.get("minimum"), schema.get("maximum")
    match schema.get("type"):
        case "boolean":
            return [False, True]
        case "null":
            return [None]
        case "integer":
            return [least, least + 1]
        case "number":
            low = schema.get("exclusiveMinimum", least)
            middle = (low + schema.get("exclusiveMaximum", low + 2 if most is None else most)) / 2
            values = (default, middle, most, least)
            return list(dict.fromkeys(v for v in values if isinstance(v, int | float)))[:2]
        case "array" if each := _values(schema["items"]):
            middle = len(each) // 2
            some = [*([v] for v in each), each] if middle < 3 else [each[:middle], each[middle:]]
            return [[], *some] if default == () else some
    return schema.get("enum") or ([schema["const"]] if "const" in schema else [])


def as_config(case: Case) -> dict[str, Any]:
    """The checked config of a case, which has a model of each kind; raises UserError."""
    config: dict[str, Any] = {"tuning": {"space": {"model.dropout": [0.0]}}}
    for path, value in {**case, **BESIDE}.items():
        put(config, path, json.loads(json.dumps(value)))
    size = config["sizes"]["toy"]
    names = both_models(config)
    size["submission_models"] = [names[model == BOOSTING] for model in size["submission_models"]]
    config["sizes"] |= {"medium": size, "full": size}
    checked = checked_config(config)
    for name in names:
        check_job(
            checked,
            Columns.from_config(checked["table"]["columns"]),
            {"size": "toy", "model": name},
        )
    return checked


def both_models(config: dict[str, Any]) -> list[str]:
    """The names of the two models of a case, of which one may submit alone."""
    return [f"len{config['sizes']['toy']['max_len'][0]}", BOOSTING]


@cache
def drawn_cases() -> list[Case]:
    """Cases of random values: of some, each is the one that has the most values that are new."""
    random = np.random.default_rng(2)
    declared = options()
    cases: list[Case] = []
    seen = set[tuple[str, int]]()
    while len(cases) < CASES:
        choices = [
            {path: int(random.integers(len(values))) for path, values in declared.items()}
            for _ in range(20)
        ]
        for choice in sorted(choices, key=lambda choice: len(seen & choice.items())):
            case = {path: declared[path][i] for path, i in choice.items()}
            with suppress(UserError):
                as_config(case)
                cases.append(case)
                seen |= choice.items()
                break
    return cases
