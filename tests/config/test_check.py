"""The config check: every mistake at once, each with its place and its cure."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from snakemake.utils import update_config

from feseq.common.errors import UserError
from feseq.config.check import checked_config, text_mistakes
from feseq.config.names import is_boosting
from support.configs import CONFIG, Config, put


def mistakes(config: Config, files: Sequence[Path] = ()) -> list[str]:
    """The lines of the refusal."""
    with pytest.raises(UserError) as refusal:
        checked_config(config, files)
    head, *lines, foot = str(refusal.value).split("\n")
    count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    assert head == f"the config has {count}:"
    assert "config/README.md" in foot
    assert all(line.startswith("  - ") for line in lines)
    return [line.removeprefix("  - ") for line in lines]


def test_the_config_as_shipped_passes_and_has_the_declared_defaults(config: Config) -> None:
    assert checked_config(config, [CONFIG]) == config
    left = {block: config[block] for block in ("columns", "sizes", "variants")}
    left["tuning"] = {"space": config["tuning"]["space"]}
    before = copy.deepcopy(left)
    assert checked_config(left) == config
    assert left == before


def test_the_preset_for_the_leaderboard_lies_over_the_config(config: Config) -> None:
    preset = CONFIG.with_name("leaderboard.yaml")
    update_config(config, yaml.safe_load(preset.read_text()))
    checked = checked_config(config, [CONFIG, preset])
    submitting = checked["sizes"]["full"]["submission_models"]
    assert checked["sizes"]["medium"]["submission_models"] == submitting
    assert {is_boosting(model) for model in submitting} == {True, False}
    assert len(preset.read_text().splitlines()) <= 60


def test_all_mistakes_are_listed_at_once(config: Config) -> None:
    put(config, "train.learning_rate", -1)
    put(config, "model.pooling", "max")
    put(config, "sampling.seed", "abc")
    put(config, "sizes.toy.rows", 5)
    put(config, "sizes.full.max_len", [150, 0])
    put(config, "runtime.verbosity", 7)
    put(config, "sampling.valid_share", 1)
    put(config, "columns.use", [])
    assert sorted(mistakes(config)) == sorted(
        [
            "train.learning_rate: -1 is not a number > 0 and <= 1",
            "model.pooling: 'max' is not one of mean, sum, target, concat, weighted_sum",
            "sampling.seed: 'abc' is not a whole number >= 0 and <= 18446744073709551615",
            "sizes.toy.rows: 5 is not a whole number >= 20 or null",
            "sizes.full.max_len.1: 0 is not a whole number >= 1 and <= 100000",
            "runtime.verbosity: 7 is not a whole number >= 0 and <= 2",
            "sampling.valid_share: 1 is not a number > 0 and < 1",
            "columns.use: [] is not a list of at least 1 (each a text)",
        ]
    )


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("train.learnin_rate", "train: unknown key 'learnin_rate'; did you mean 'learning_rate'?"),
        ("sizes.toy.model.head", "sizes.toy.model: unknown key 'head'; did you mean 'heads'?"),
        ("tuning.trails", "tuning: unknown key 'trails'; did you mean 'trials'?"),
        ("sizzes", "unknown key 'sizzes'; did you mean 'sizes'?"),
        ("sizes.huge", "sizes: unknown key 'huge'; keys here: toy, medium, full"),
        (
            "columns.groups.base.target",
            "columns.groups.base: unknown key 'target'; keys here: profile, context, numeric, "
            "sequences, times, share_embedding",
        ),
    ],
)
def test_a_misspelt_key_is_named_with_the_key_that_was_meant(
    config: Config, path: str, line: str
) -> None:
    put(config, path, {})
    assert mistakes(config) == [line]


def test_a_misspelt_figure_of_the_monitor_is_named(config: Config) -> None:
    put(config, "train.monitor.acu", 1)
    assert mistakes(config) == ["train.monitor: unknown key 'acu'; did you mean 'auc'?"]


def test_times_and_shares_are_checked_like_other_roles(config: Config) -> None:
    group = config["columns"]["groups"]["base"]
    group |= {"times": {"seq_time": "time"}, "share_embedding": ["seq"]}
    checked_config(config)
    group |= {"times": ["seq_time"], "share_embedding": "seq"}
    assert mistakes(config) == [
        "columns.groups.base.times: ['seq_time'] is not a mapping",
        "columns.groups.base.share_embedding: 'seq' is not a list (each a text that is not empty)",
    ]
    group |= {"times": {"seq_time": "time"}, "share_embedding": ["inventory_id"]}
    (line,) = mistakes(config)
    assert line.startswith("columns.groups.base.share_embedding: 'inventory_id' is none of")


def test_missing_keys_are_listed_once_each_place(config: Config) -> None:
    del config["tuning"], config["sizes"]["toy"]["rows"], config["sizes"]["toy"]["max_len"]
    assert sorted(mistakes(config)) == [
        "sizes.toy: misses 'rows', 'max_len'",
        "tuning: misses 'space'",
    ]


def test_a_number_that_yaml_reads_as_text_is_explained(config: Config) -> None:
    assert isinstance(yaml.safe_load("1e-3"), str)
    put(config, "train.learning_rate", yaml.safe_load("1e-3"))
    put(config, "model.pooling", "none")
    rate, pooling = sorted(mistakes(config), reverse=True)
    assert rate.startswith(
        "train.learning_rate: '1e-3' is not a number > 0 and <= 1; YAML reads this"
    )
    assert "1.0e-3" in rate
    assert "YAML" not in pooling


@pytest.mark.parametrize("path", ["sizes.toy.rows", "train.eval_steps", "sizes.toy.train.epochs"])
def test_a_whole_number_in_a_float_s_clothes_is_refused(config: Config, path: str) -> None:
    # JSON schema takes 1000.0 for an integer; range() and NumPy do not.
    put(config, path, 1000.0)
    (line,) = mistakes(config)
    assert line.startswith(f"{path}: 1000.0 is not a whole number")


@pytest.mark.parametrize("value", [True, None, "5", [5]])
def test_a_value_of_another_type_is_refused(config: Config, value: Any) -> None:
    put(config, "sizes.toy.min_count", value)
    (line,) = mistakes(config)
    assert line.startswith(f"sizes.toy.min_count: {value!r} is not a whole number >= 1")


def test_odd_keys_do_not_keep_mistakes_from_being_listed(config: Config) -> None:
    config["columns"]["groups"] |= {1: {"numeric": 3}, "two": {"numeric": 4}}
    assert mistakes(config) == [
        "columns.groups: 1 is not a text",
        "columns.groups.1.numeric: 3 is not a list (each a text that is not empty)",
        "columns.groups.two.numeric: 4 is not a list (each a text that is not empty)",
    ]


@pytest.mark.parametrize("key", [1.5, None, 3])
def test_a_key_that_is_no_text_is_unknown(config: Config, key: Any) -> None:
    config["runtime"][key] = 1
    (line,) = mistakes(config)
    assert line.startswith(f"runtime: unknown key {key!r}; keys here: device, ")


def test_contradicting_columns_are_a_mistake_of_the_config(config: Config) -> None:
    put(config, "columns.use", ["bass"])
    assert mistakes(config) == [
        "columns.use: there is no group 'bass'; groups are base, history",
    ]


def test_heads_must_divide_the_width(config: Config) -> None:
    put(config, "sizes.toy.model", {**config["sizes"]["toy"]["model"], "embedding_dim": 8})
    put(config, "sizes.toy.model.heads", 5)
    put(config, "model.positions", True)
    # Sequence and four profile fields, and the position: 6 times 8.
    (line,) = mistakes(config)
    assert line.startswith("sizes.toy.model.heads: 5 heads do not divide the width 48")
    put(config, "model.positions", False)
    put(config, "sizes.medium.model.heads", 1)
    put(config, "sizes.full.model.heads", 1)
    checked_config(config)


def test_submission_models_that_cannot_be_are_named_for_every_size(config: Config) -> None:
    put(config, "sizes.toy.submission_models", ["len101"])
    put(config, "sizes.medium.submission_models", ["len150-feseq_papr", "150"])
    put(config, "sizes.full.submission_weights", [1, 2])
    first, second, third, fourth = mistakes(config)
    assert first.startswith("max_len 101 is not listed for size toy: sizes.toy.max_len is [100]")
    assert second.endswith("no variant 'feseq_papr'; did you mean 'feseq_paper'?")
    assert third.startswith("'150' is not the name of a model")
    assert fourth.startswith("sizes.full.submission_weights: 2 weights for 1 submission_models")


def test_what_is_no_name_of_a_variant_is_refused(config: Config) -> None:
    config["variants"] = {"Big one": {"model": {"heads": 2}}}
    (line,) = mistakes(config)
    assert line.startswith("variants: 'Big one' is not a text like")


def test_a_setting_that_is_neither_shared_nor_given_is_missed(config: Config) -> None:
    del config["sizes"]["medium"]["train"]["epochs"]
    del config["sizes"]["medium"]["train"]["batch_size"]
    (line,) = mistakes(config)
    assert line == "train: batch_size, epochs set neither here nor in sizes.medium.train"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True])
def test_a_number_that_is_none_is_refused(config: Config, value: object) -> None:
    put(config, "train.max_grad_norm", value)
    with pytest.raises(UserError, match=r"train\.max_grad_norm"):
        checked_config(config)


def test_times_without_a_column_of_times_are_refused_once(config: Config) -> None:
    put(config, "model.times", True)
    # Another field makes the widths odd; only the missing times are at stake here.
    put(config, "sizes.toy.model.heads", 1)
    put(config, "sizes.medium.model.heads", 1)
    put(config, "sizes.full.model.heads", 1)
    (line,) = mistakes(config)
    assert line.startswith("model.times: true, and no group in columns.use")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.seed", 2**64),
        ("sampling.seed", -1),
        ("train.pos_weight", 1e9),
        ("train.monitor", {"auc": 0}),
        ("train.monitor", {}),
        ("train.monitor", {"auc": -1, "logloss": -1}),
        ("train.monitor", {"auc": 1, "logloss": 0.5}),
        ("variants.feseq_paper.train.monitor", {"auc": 0, "logloss": 0}),
        ("sizes.toy.submission_models", ["len100", "len100"]),
        ("runtime.verbosity", True),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(config: Config, path: str, value: object) -> None:
    put(config, path, value)
    (line,) = mistakes(config)
    assert line.startswith(f"{path}: {value!r} ")


def test_last_values_need_a_column_of_times(config: Config) -> None:
    put(config, "sampling.split.last", 2)
    (line,) = mistakes(config)
    assert line.startswith("sampling.split.last: 2, and sampling.split.time names no column")


@pytest.mark.parametrize(
    "monitor", [{"auc": 1}, {"logloss": -2}, {"score": 1, "balanced_logloss": -0.5}]
)
def test_any_figures_may_be_the_monitor(config: Config, monitor: dict[str, float]) -> None:
    put(config, "train.monitor", monitor)
    assert checked_config(config)["train"]["monitor"] == monitor


def test_the_highest_seed_seeds_numpy_and_torch(config: Config) -> None:
    put(config, "train.seed", 2**64 - 1)
    seed = checked_config(config)["train"]["seed"]
    torch.manual_seed(seed)
    np.random.default_rng([seed, 1])


def traps(folder: Path, text: str) -> list[str]:
    file = folder / "mine.yaml"
    file.write_text(text)
    return [line.removeprefix(f"{file}, ") for line in text_mistakes([file])]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' stands in line 1 too; keep one"),
        ("a:\n  - {b: 1, b: 1}\n", "line 2: key 'b' stands in line 2 too; keep one"),
        ('{\n\t"a": {"b": 1,\n\t"b": 2}}', "line 3: key 'b' stands in line 2 too; keep one"),
        ("a:\n  seed: 010\n", "line 2: YAML reads 010 as 8; "),
        ("a: -0_17", "line 1: YAML reads -0_17 as -15; "),
        ("# x\na: [1:30]", "line 2: YAML reads 1:30 as 90; "),
        ("a: 1:30.5", "line 1: YAML reads 1:30.5 as 90.5; "),
        ("010: a", "line 1: YAML reads 010 as 8; "),
    ],
)
def test_a_trap_is_named_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    (only,) = traps(tmp_path, text)
    assert only.startswith(line)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 0\nb: -0\nc: 10\nd: 1_000\ne: 0.10\nf: 1.0e-3\n",
        "a: '010'\nb: \"1:30\"\nc: 09\nd: a:1\nf: 0:30\ne: s3://b/k\n",
        "a: {c: 1}\nb: {c: 1}\n",
        "a: &x {c: 1}\nb: *x\nc:\n  <<: *x\n  d: 1\n",
    ],
)
def test_sound_text_passes(tmp_path: Path, text: str) -> None:
    assert traps(tmp_path, text) == []


def test_mistakes_in_the_text_and_in_values_are_told_together(
    config: Config, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sampling: {seed: 010}\ntrain:\n  seed: 1\n  batchsize: 5\n  seed: 2\n")
    put(config, "train.batchsize", 5)
    assert mistakes(config, [file]) == [
        f"{file}, line 1: YAML reads 010 as 8; write 8, or '010' in quotes for text",
        f"{file}, line 5: key 'seed' stands in line 3 too; keep one",
        "train: unknown key 'batchsize'; did you mean 'batch_size'?",
    ]
