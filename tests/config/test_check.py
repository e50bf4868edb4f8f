"""The config check: every mistake at once, each with its place and its cure; and the raw files."""

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
from feseq.config.catalog import (
    check_fold,
    check_job,
    compared_models,
    model_settings,
    size_settings,
)
from feseq.config.check import checked_config
from feseq.config.columns import Columns
from feseq.config.names import is_boosting
from feseq.raw.source import locate_raw
from support.raw_tables import COLUMNS

CONFIG = Path(__file__).parents[2] / "config/config.yaml"
Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    return yaml.safe_load(CONFIG.read_text())


def put(config: Config, path: str, value: Any) -> None:
    """Set the value at a dotted path."""
    *folders, key = path.split(".")
    for folder in folders:
        config = config[folder]
    config[key] = value


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


def test_a_size_overrules_the_shared_settings_and_nothing_else(config: Config) -> None:
    put(config, "sizes.toy.model.dropout", 0.75)
    toy, full = size_settings(config, "toy"), size_settings(config, "full")
    assert toy["model"]["dropout"] == 0.75
    assert full["model"]["dropout"] == config["model"]["dropout"] != 0.75
    assert toy["model"]["pooling"] == config["model"]["pooling"]
    assert toy["min_count"] == config["sizes"]["toy"]["min_count"]


def test_a_model_is_made_for_listed_lengths_alone(config: Config) -> None:
    put(config, "sizes.medium.max_len", [150, 500])
    made = model_settings(config, "medium", "len500")
    assert made["model_config"]["max_len"] == 500
    assert made["train_config"]["epochs"] == config["sizes"]["medium"]["train"]["epochs"]
    with pytest.raises(UserError, match=r"max_len 100 is not listed for size medium.*\[150, 500\]"):
        model_settings(config, "medium", "len100")


def test_a_variant_lies_over_the_size_which_lies_over_the_shared_settings(config: Config) -> None:
    config["variants"] = {"wide": {"model": {"embedding_dim": 64}, "train": {"seed": 1}}}
    put(config, "sizes.full.model.dropout", 0.5)
    made, plain = (model_settings(config, "full", name) for name in ("len150-wide", "len150"))
    assert made["model_config"] == plain["model_config"] | {"embedding_dim": 64}
    assert made["train_config"] == plain["train_config"] | {"seed": 1}
    assert plain["model_config"]["dropout"] == 0.5


def test_a_job_of_an_unknown_size_or_model_is_refused(config: Config) -> None:
    put(config, "sizes.medium.max_len", [150, 500])
    config["variants"]["odd"] = {"model": {"heads": 7}}
    columns = Columns.from_config(config["columns"])
    check_job(config, columns, {"size": "toy"})
    check_job(config, columns, {"size": "full", "model": "len150-feseq_paper"})
    check_job(config, columns, {"size": "full", "model": "boosting-without_histories"})
    for size, model, message in (
        ("medium", "len151", r"max_len 151 .* medium.*\[150, 500\]"),
        ("medium", "len150-feseq_papr", "'feseq_paper'"),
        ("full", "len150-odd", "variants.odd.model, on size full: 7 heads"),
        ("full", "bosting", "did you mean 'boosting'"),
        ("full", "boosting-gone", "no variant 'gone'"),
        ("full", "boosting-feseq_paper", "has no settings of boosting"),
        ("fulll", "len150", "'fulll'.*'full'"),
    ):
        with pytest.raises(UserError, match=message):
            check_job(config, columns, {"size": size, "model": model})


def test_a_job_of_a_fold_that_is_not_there_is_refused(config: Config) -> None:
    with pytest.raises(UserError, match=r"need sampling.folds, which is null; set it"):
        check_fold(config, {"size": "toy"})
    config["sampling"]["folds"] = 3
    check_fold(config, {"size": "toy"})
    check_fold(config, {"size": "toy", "fold": "3"})
    with pytest.raises(UserError, match="constant is no model"):
        check_fold(config, {"size": "toy", "name": "constant"})
    with pytest.raises(UserError, match=r"no fold 4: sampling.folds is 3"):
        check_fold(config, {"size": "toy", "fold": "4"})
    config["sampling"]["folds"] = 1
    with pytest.raises(UserError, match=r"sampling.folds: 1 is .*2"):
        checked_config(config)


def test_the_comparison_has_what_is_configured_and_what_was_trained(
    config: Config, tmp_path: Path
) -> None:
    put(config, "sizes.full.submission_models", ["len150", "len500"])
    put(config, "evaluation.baselines", ["constant"])
    trained = ["toy/len100", "toy/len100-gone", "toy/len7", "full/len150", "medium/boosting"]
    for name in trained:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "training.json").write_text("{}")
        kind = "ubj" if "boosting" in name else "safetensors"
        (tmp_path / name / f"model.{kind}").touch()
    (tmp_path / "toy/len100-feseq_paper").mkdir()
    assert compared_models(config, tmp_path) == [
        ("full", "len150"),
        ("full", "len500"),
        ("full", "ensemble"),
        ("full", "constant"),
        ("medium", "boosting"),
        ("toy", "len100"),
    ]


class TestLocateRaw:
    """All combinations of raw.source and the files that are there."""

    @pytest.fixture
    def raw(self, tmp_path: Path) -> dict[str, str]:
        names = {"train": "a.parquet", "test": "b.parquet", "sample_submission": "c.csv"}
        return {"source": "auto"} | {key: str(tmp_path / name) for key, name in names.items()}

    @staticmethod
    def touch(raw: dict[str, str], *there: str) -> None:
        for key in there:
            Path(raw[key]).touch()

    @pytest.mark.parametrize("source", ["auto", "files"])
    def test_files_that_are_there_are_used(self, raw: dict[str, str], source: str) -> None:
        self.touch(raw, "train", "test")
        found = locate_raw(raw | {"source": source})
        assert [str(found.train), str(found.test)] == [raw["train"], raw["test"]]
        assert not found.simulated
        assert found.sample_submission is None
        Path(raw["sample_submission"]).write_text("clicked,ID\n")
        found = locate_raw(raw | {"source": source})
        assert str(found.sample_submission) == raw["sample_submission"]
        with pytest.raises(UserError, match="header 'clicked,ID' has no column 'uid'"):
            found.check(COLUMNS)

    @pytest.mark.parametrize("source", ["auto", "files"])
    def test_a_link_to_nowhere_or_a_folder_is_no_reason_to_simulate(
        self, raw: dict[str, str], source: str, tmp_path: Path
    ) -> None:
        for name in ("train", "test"):
            Path(raw[name]).symlink_to(tmp_path / "unmounted" / name)
        with pytest.raises(UserError, match=r"is a link to .*unmounted/train, and not a file"):
            locate_raw(raw | {"source": source})
        Path(raw["train"]).unlink()
        Path(raw["train"]).mkdir()
        with pytest.raises(UserError, match="is a folder"):
            locate_raw(raw | {"source": source})
        assert locate_raw(raw | {"source": "simulated"}).simulated

    @pytest.mark.parametrize(
        ("source", "there"),
        [("auto", ()), ("simulated", ()), ("simulated", ("train",)), ("simulated", ("test",))],
    )
    def test_the_stand_in_is_used_and_said_loudly(
        self, raw: dict[str, str], source: str, there: tuple[str, ...]
    ) -> None:
        self.touch(raw, *there)
        found = locate_raw(raw | {"source": source})
        assert found.simulated
        assert "SIMULATED DATA" in found.warning
        assert raw["train"] not in (str(found.train), str(found.test))
        if source == "auto":
            assert raw["train"] in found.warning

    def test_simulated_leaves_real_files_aside(self, raw: dict[str, str]) -> None:
        self.touch(raw, "train", "test")
        found = locate_raw(raw | {"source": "simulated"})
        assert found.simulated
        assert not {str(found.train), str(found.test)} & {raw["train"], raw["test"]}

    @pytest.mark.parametrize(
        ("source", "there"),
        [("files", ()), ("files", ("train",)), ("files", ("test",)), ("auto", ("train",)),
         ("auto", ("test",))],
    )  # fmt: skip
    def test_a_missing_file_is_refused_by_name(
        self, raw: dict[str, str], source: str, there: tuple[str, ...]
    ) -> None:
        self.touch(raw, *there)
        with pytest.raises(UserError) as refusal:
            locate_raw(raw | {"source": source})
        _, after = str(refusal.value).split("are missing: ")
        listed = after.split(" (")[0].split(";")[0]
        missing = [raw[key] for key in ("train", "test") if key not in there]
        assert listed == ", ".join(missing)
        assert ("never mixed" in after) == bool(there)


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
