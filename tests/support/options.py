"""All options that change a result, and few cases that have each pair of their values.

The values come from the declarations, but for those of numbers and of columns, which stand here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from feseq.common.errors import UserError
from feseq.config.boosting import BoostingConfig
from feseq.config.catalog import check_job
from feseq.config.check import checked_config
from feseq.config.columns import Columns
from feseq.config.declared import fields_of
from feseq.config.model import ModelConfig
from feseq.config.sampling import Sampling
from feseq.config.settings import ColumnRoles, Group, Size, Submission
from feseq.config.train import Monitored, TrainConfig

DECLARED = {
    "model": ModelConfig,
    "train": TrainConfig,
    "boosting": BoostingConfig,
    "sampling": Sampling,
    "submission": Submission,
    "columns": ColumnRoles,
    "columns.groups.main": Group,
    "sizes.toy": Size,
}
# These stand at the top, or below another name.
ELSEWHERE = {"model.max_len", "columns.groups", *(f"sizes.toy.{name}" for name in DECLARED)}
FESEQ, BOOSTING = "feseq", "boosting"
METRICS = get_args(Monitored)
VALUES: dict[str, list[Any]] = {
    "model.embedding_dim": [2, 3],
    "model.interaction_layers": [0, 2],
    "model.transformer_layers": [0, 1],
    "model.heads": [1, 2],
    "model.time_log_base": [2],
    "model.item_interaction_layers": [0, 1],
    "model.attention_dim": [1, 4],
    "model.mlp": [[], [4]],
    "model.levels": [0, 4],
    "model.history_statistics": [[]],
    "model.unknown_share": [0, 0.9],
    "model.crossing": [0, 3],
    "model.mlp_cross_rank": [0, 2],
    "model.embedding_std": [1e-4, 1],
    "model.embedding_dropout": [0, 0.9],
    "model.dropout": [0, 0.5],
    "train.batch_size": [16, 64],
    "train.min_steps_per_epoch": [1, 6],
    "train.epochs": [1, 2],
    "train.learning_rate": [1e-3, 0.05],
    "train.embedding_rate_factor": [1, 2],
    "train.embedding_second_moment": ["weight", "table"],
    "train.weight_decay": [0, 1],
    "train.max_grad_norm": [0.1, 10],
    "train.embedding_l2": [0, 0.1],
    "train.pos_weight": [1, 20],
    "train.negative_share": [0.3, 1],
    "train.weight_average": [0, 0.9],
    "train.evaluations_per_epoch": [2],
    "train.patience": [1, 9],
    # Every metric is in one of these.
    "train.monitor": [
        {name: -1 if name.endswith("loss") else 1 for name in METRICS[i::4]} for i in range(4)
    ],
    "train.start_from": [None],
    "train.seed": [0, 2**64 - 1],
    "train.gpus": [1],
    "train.nodes": [1],
    "boosting.trees": [1, 6],
    "boosting.learning_rate": [0.1, 1],
    "boosting.max_depth": [1, 4],
    "boosting.min_child_weight": [0, 3],
    "boosting.l2": [0, 1],
    "boosting.colsample": [0.5, 1],
    "boosting.hash_groups": [0, 5],
    "boosting.unknown_share": [0, 0.9],
    "boosting.seed": [0, 2**31 - 1],
    "sampling.split.time": ["day"],
    "sampling.split.last": [2],
    "sampling.split.group": ["user"],
    "sampling.valid_share": [0.2, 0.4],
    "sampling.holdout_share": [0, 0.5],
    "sampling.seed": [0, 2**64 - 1],
    "columns.label": ["bought", "bought_text"],
    "columns.id": ["visit", "number"],
    "columns.use": [["main"], ["main", "more"]],
    "columns.groups.main.profile": [[], ["country", "hour"]],
    "columns.groups.main.context": [[], ["channel"], ["channel", "shop"]],
    "columns.groups.main.numeric": [[], ["price", "age", "shop"]],
    "columns.groups.main.sequences": [{"events": "item"}, {"events": "item", "clips": "film"}],
    "columns.groups.main.times": [{}, {"event_times": "at"}],
    "columns.groups.main.share_embedding": [[], ["events"]],
    "sizes.toy.rows": [140],
    "sizes.toy.max_len": [[1], [4]],
    "sizes.toy.submission_models": [[FESEQ], [BOOSTING], [FESEQ, BOOSTING]],
    "sizes.toy.submission_weights": [[1, 3]],
    "sizes.toy.min_count": [1, 3],
}
BESIDE = {
    "columns.groups.more": {"profile": ["is_new"], "numeric": ["score"]},
    "evaluation.baselines": ["constant"],
}

# With one value; tests/train/test_ranks.py and test_warm_start.py have others.
ONE_VALUE = {"train.gpus", "train.nodes", "train.start_from"}

# Ends the search for cases where a pair is in none; some forty are enough.
_ROUNDS = 200

Case = dict[str, Any]
# The pairs that the config refuses; it also refuses heads that do not divide the width.
REFUSED: list[Case] = [
    {"model.times": True, "columns.groups.main.times": {}},
    {
        "model.history_statistics": ["target_count", "target_recency", "newest"],
        "columns.groups.main.share_embedding": [],
    },
    {"sampling.split.last": 2, "sampling.split.time": None},
    {"sizes.toy.submission_models": [FESEQ], "sizes.toy.submission_weights": [1, 3]},
    {"sizes.toy.submission_models": [BOOSTING], "sizes.toy.submission_weights": [1, 3]},
]


def declared_options() -> Iterator[tuple[str, Any]]:
    """The dotted name and type of every declared option."""
    for block, declared in DECLARED.items():
        yield from _options(block, declared)


def _options(block: str, declared: Any) -> Iterator[tuple[str, Any]]:
    for name, field in fields_of(declared).items():
        path = f"{block}.{name}"
        if path in ELSEWHERE:
            continue
        if fields_of(field.annotation):
            yield from _options(path, field.annotation)
        else:
            yield path, field.annotation


def _choices(kind: Any) -> list[Any]:
    """The values of a type that has few; of lists of these, each alone and all, or two halves."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return list(inner)
    if kind is bool:
        return [False, True]
    if kind is NoneType:
        return [None]
    if origin in (Union, UnionType):
        return [value for option in inner for value in _choices(option)]
    if origin is tuple and (each := _choices(inner[0])):
        middle = len(each) // 2
        return [*([v] for v in each), each] if middle < 3 else [each[:middle], each[middle:]]
    return []


def options() -> dict[str, list[Any]]:
    """The values of every declared option; none where VALUES should have some."""
    return {path: _choices(kind) + VALUES.get(path, []) for path, kind in declared_options()}


def as_config(case: Case) -> dict[str, Any]:
    """The checked config of a case, which has a model of each family; raises UserError."""
    config: dict[str, Any] = {"tuning": {"space": {"model.dropout": [0.0]}}}
    for path, value in {**case, **BESIDE}.items():
        *parents, last = path.split(".")
        block = config
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = json.loads(json.dumps(value))
    size = config["sizes"]["toy"]
    names = both_models(config)
    size["submission_models"] = [names[model == BOOSTING] for model in size["submission_models"]]
    config["sizes"] |= {"medium": size, "full": size}
    checked = checked_config(config)
    for name in names:
        check_job(checked, Columns.from_config(checked["columns"]), {"size": "toy", "model": name})
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
    place = {path: [i for i, pair in enumerate(value_of) if pair[0] == path] for path in factors}
    random = np.random.default_rng(0)
    is_open = np.ones((len(value_of), len(value_of)), bool)
    for same in place.values():
        is_open[np.ix_(same, same)] = False
    is_refused = np.zeros_like(is_open)
    for pair in REFUSED:
        one, other = (value_of.index(item) for item in pair.items())
        is_refused[one, other] = is_refused[other, one] = True
    is_open &= ~is_refused
    cases: list[Case] = []
    for _ in range(_ROUNDS):
        starts = np.argwhere(is_open)
        if not len(starts):
            break
        tries = [
            _filled(random.choice(starts), place, is_open, is_refused, random) for _ in range(12)
        ]
        tries.sort(key=lambda chosen: -int(is_open[np.ix_(chosen, chosen)].sum()))
        for chosen in tries:
            case = dict(sorted(value_of[i] for i in chosen))
            if _is_allowed(case):
                cases.append(case)
                is_open[np.ix_(chosen, chosen)] = False
                break
    return cases


def _filled(
    start: Sequence[int],
    place: Mapping[str, Sequence[int]],
    is_open: np.ndarray,
    is_refused: np.ndarray,
    random: np.random.Generator,
) -> list[int]:
    """One value of each option, those of `start` among them."""
    chosen = [int(i) for i in start]
    factors = [values for values in place.values() if not set(values) & set(chosen)]
    # Those of many values are the hardest to pair.
    for values in sorted(factors, key=len, reverse=True):
        gains = is_open[np.ix_(values, chosen)].sum(axis=1) + random.random(len(values))
        gains[is_refused[np.ix_(values, chosen)].any(axis=1)] = -1
        chosen.append(values[int(np.argmax(gains))])
    return chosen


def _is_allowed(case: Case) -> bool:
    try:
        as_config(case)
    except UserError:
        return False
    return True
