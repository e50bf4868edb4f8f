"""All options that change a result, and few cases that have each pair of their values.

The values come from the declarations, but for those that stand in VALUES.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import combinations
from typing import Any, get_args

import numpy as np
from pydantic import TypeAdapter

from feseq.catalog.check import checked_config
from feseq.catalog.models import check_job
from feseq.catalog.settings import ColumnRoles, Group, Size, Submission, Table
from feseq.common.errors import UserError
from feseq.config.columns import Columns
from feseq.config.declared import fields_of, settable
from feseq.config.sampling import SamplingConfig
from feseq.families.boosting.settings import BoostingConfig
from feseq.families.feseq.settings import ModelConfig, Monitored, TrainConfig
from support.configs import put

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
    # tests/families/feseq/test_processes.py has others.
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

# Ends the search for cases where a pair is in none; some forty are enough.
_ROUNDS = 200

Case = dict[str, Any]
# The pairs that the config refuses; it also refuses heads that do not divide the width.
REFUSED: list[Case] = [
    *(
        {"table.columns.groups.main.sequences": {}, path: value}
        for path, value in (
            ("table.columns.groups.main.times", {"event_times": "at"}),
            ("table.columns.groups.main.share_embedding", ["events"]),
            ("model.times", True),
        )
    ),
    {"model.times": True, "table.columns.groups.main.times": {}},
    {"sizes.toy.submission_models": [FESEQ], "sizes.toy.submission_weights": [1, 3]},
    {"sizes.toy.submission_models": [BOOSTING], "sizes.toy.submission_weights": [1, 3]},
]


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
    for name, field in settable(declared).items():
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
    """The checked config of a case, which has a model of each family; raises UserError."""
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


def pairs(case: Case) -> set[str]:
    """Every two options of a case with their values."""
    return {json.dumps(pair) for pair in combinations(sorted(case.items()), 2)}


@cache
def covering_cases() -> list[Case]:
    """Cases in which each pair of values occurs, but for those of REFUSED.

    Each case is the best of some that begin with a pair that has not occurred, and take for one
    option after the other the value that brings in most of such pairs.
    """
    factors = options()
    value_of = [(path, value) for path, values in factors.items() for value in values]
    places = [[i for i, pair in enumerate(value_of) if pair[0] == path] for path in factors]
    # Those of many values are the hardest to pair.
    places.sort(key=len, reverse=True)
    random = np.random.default_rng(0)
    is_refused = np.zeros((len(value_of), len(value_of)), bool)
    for pair in REFUSED:
        one, other = (value_of.index(item) for item in pair.items())
        is_refused[one, other] = is_refused[other, one] = True
    is_open = ~is_refused
    for same in places:
        is_open[np.ix_(same, same)] = False

    def filled(start: Sequence[int]) -> list[int]:
        """One value of each option, those of `start` among them."""
        chosen = [int(i) for i in start]
        for values in places:
            if not {*values} & {*start}:
                gains = is_open[np.ix_(values, chosen)].sum(axis=1) + random.random(len(values))
                gains[is_refused[np.ix_(values, chosen)].any(axis=1)] = -1
                chosen.append(values[int(np.argmax(gains))])
        return chosen

    cases: list[Case] = []
    for _ in range(_ROUNDS):
        starts = np.argwhere(is_open)
        if not len(starts):
            break
        tries = [filled(random.choice(starts)) for _ in range(12)]
        for chosen in sorted(tries, key=lambda c: -int(is_open[np.ix_(c, c)].sum())):
            case = dict(sorted(value_of[i] for i in chosen))
            with suppress(UserError):
                as_config(case)
                cases.append(case)
                is_open[np.ix_(chosen, chosen)] = False
                break
    return cases
