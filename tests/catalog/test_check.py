"""The check of a config and of a search space; the page of all keys."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.configs import CONFIG, Config, put, shipped
from tossctr.catalog.check import checked_config, with_table, yaml_pitfalls
from tossctr.catalog.reference import key_rows, with_tables
from tossctr.catalog.schema import TuneConfig
from tossctr.common.errors import UserError
from tossctr.config.declared import mistakes


@pytest.fixture
def config() -> Config:
    return shipped()


def named(config: Config) -> list[str]:
    """The keys that a refusal names, of a config that is refused."""
    with pytest.raises(UserError) as refusal:
        checked_config(config)
    lines = [line for line in str(refusal.value).splitlines() if line.startswith("  - ")]
    return sorted(line.removeprefix("  - ").split(": ")[0] for line in lines)


def test_the_config_as_shipped_shows_the_declared_defaults(config: Config) -> None:
    checked = checked_config(config, [CONFIG])
    left = {block: config[block] for block in ("table", "sizes", "variants")}
    left["tuning"] = {"space": config["tuning"]["space"]}
    assert checked_config(left) == checked
    for block in {*config} - {"table", "sizes", "variants"}:
        shown = config[block].items()
        assert {key: checked[block][key] for key, _ in shown} == dict(shown)


def test_numbers_keep_the_form_in_which_they_were_written(config: Config) -> None:
    """A default written out, such as 0 of a float, is the same text and retrains nothing."""
    before = json.dumps(checked_config(config))
    config["train"]["embedding_l2"] = 0
    assert json.dumps(checked_config(config)) == before
    put(config, "sizes.toy.train.weight_decay", 1)
    put(config, "sizes.toy.model.dropout", 0)
    size = checked_config(config)["sizes"]["toy"]
    assert json.dumps([size["train"]["weight_decay"], size["model"]["dropout"]]) == "[1, 0]"


def test_all_mistakes_are_listed_at_once_by_their_paths(config: Config) -> None:
    wrong = {
        "model.max_len": 150,
        "sizes.medium.max_len": 150,
        "sizes.toy.model.head": 1,
        "sizes.toy.rows": 1000.0,
        "sizzes": {},
        "table.columns.groups.base.times": ["seq_time"],
        "table.score": "best",
        "train.batchsize": 5,
        "train.embedding_l2": float("nan"),
        "train.learning_rate": "1e-3",
        "train.monitor.acu": 1,
        "train.seed": 2**64,
        "tuning.space": {"model.droput": [0.1]},
        "variants.Big one": {},
    }
    for path, value in wrong.items():
        put(config, path, value)
    del config["sizes"]["full"]["rows"]
    with pytest.raises(UserError, match=r"did you mean 'batch_size'\?"):
        checked_config(config)
    assert named(config) == sorted([*wrong, "sizes.full.rows"])


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("sizes.full.max_len", [150, 0], "sizes.full.max_len.1"),
        ("sizes.full.submission_weights", [1, 2, 3], "sizes.full"),
        ("train.monitor", {"auc": 0}, "train.monitor"),
        ("table.columns.use", ["bass"], "columns.use"),
        ("sizes.toy.train", {}, "sizes.toy.train.batch_size"),
        ("sizes.toy.model.heads", 5, "model.heads of len100, size toy"),
        ("sizes.full.submission_models", ["len151"], "max_len 151 is not listed for size full"),
    ],
)
def test_values_that_contradict_one_another_are_refused(
    config: Config, path: str, value: Any, expected: str
) -> None:
    put(config, path, value)
    assert expected in named(config)


def test_a_table_s_file_is_looked_up_in_all_folders_which_are_named(tmp_path: Path) -> None:
    folders = [tmp_path / "mine", tmp_path / "repository"]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(UserError, match=r"mine/table\.yaml.*repository/table\.yaml"):
        with_table({"table": "table.yaml"}, folders)
    for folder in reversed(folders):
        (folder / "table.yaml").write_text("score: auc")
        assert with_table({"table": "table.yaml"}, folders)[1] == [folder / "table.yaml"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\nb: 2\na: 3\n", [3]),
        ('{\n\t"a": {"b": 1,\n\t"b": 2}}', [3]),
        ("a: 0\nb: 010\nc: [0.5, 1:30, 1:30.5]\n0777: 0x10\n", [2, 3, 3, 4]),
        ("a: &x {c: 1}\nb: *x\nc:\n  <<: *x\n  d: {c: 1}\n", []),
        ("a: '010'\nb: [1.0e-3, -0, 10, 08]\nc: 2024-01-31 23:59:00\nd: a:1\n", []),
    ],
)
def test_what_yaml_takes_otherwise_than_it_looks_is_named_with_its_line(
    tmp_path: Path, text: str, lines: list[int]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    named = [line.removeprefix(f"{file}, line ").split(":")[0] for line in yaml_pitfalls([file])]
    assert sorted(map(int, named)) == lines


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ("model.max_len: [50]", "model.max_len"),
        ("boosting.bags: [1, 3]", "boosting.bags"),
        ("boosting.max_depth: {low: 3, high: 17}", "boosting.max_depth"),
        ("model.dropout: []", "model.dropout"),
        ("model.dropout: [0.1, 1.5]", "model.dropout"),
        ("model.dropout: {low: 0}", "model.dropout.high"),
        ("model.dropout: {low: 0.3, high: 0.1}", "model.dropout"),
        ("model.dropout: {low: 0.0, high: 0.3, log: true}", "model.dropout"),
        ("model.heads: {low: 1, high: 8, step: 0.5}", "model.heads"),
        ("model.dropout: {low: 0.1, high: 0.4, step: 0.1}", None),
        ("train.embedding_l2: {low: 1, high: 2.5}", None),
        ("train.evaluations_per_epoch: [auto, 4]", None),
    ],
)
def test_a_mistake_is_named_and_a_sound_space_passes(space: str, named: str | None) -> None:
    lines = mistakes(TuneConfig, {"space": yaml.safe_load(space)}, "tuning")
    expected = [["tuning.space", named]] if named else []
    assert [line.split(": ")[:2] for line in lines] == expected


README = CONFIG.with_name("README.md").read_text()


def test_the_page_of_all_keys_is_in_step_with_the_declared_settings() -> None:
    assert with_tables(README) == README, "run `make reference` and commit what it changes"
    rows = list(key_rows())
    assert [path for path, _, _, meaning in rows if not meaning] == []
    assert [path for path, *_ in rows if README.count(f"\n| `{path}` |") != 1] == []
    named = re.findall(r"`([a-z_]+(?:\.[a-z0-9_<>]+)+)`", README)
    assert {*named} <= {path for path, *_ in rows} | {"config.yaml", "toss.yaml", "changes.yaml"}
