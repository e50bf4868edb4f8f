"""Column roles, the check of a config, its page of all keys, settings and models of a size."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from support.configs import CONFIG, Config, put, shipped
from tossctr.catalog.check import checked_config, load_table_file, repeated_keys
from tossctr.catalog.model_kinds import check_job, compared_models, kind_of
from tossctr.catalog.reference import key_rows, with_tables
from tossctr.catalog.schema import TuneConfig
from tossctr.common.errors import UserError
from tossctr.config.columns import Columns, expand_ranges
from tossctr.config.declared import validation_errors
from tossctr.models.base import block_settings


def written(**changes: Any) -> dict[str, Any]:
    return {
        "label": "y",
        "id": "uid",
        "use": ["basic", "money"],
        "groups": {
            "basic": {"profile": ["country"], "sequences": {"events": "item"}},
            "money": {"numeric": ["price", "f_{2..4}"]},
            "spare": {"numeric": ["age"], "sequences": {"shops": "shop"}},
        },
    } | changes


def shop(**roles: Any) -> dict[str, Any]:
    """A config of one group with two sequences and these roles."""
    return written(
        use=["a"], groups={"a": {"sequences": {"events": "item", "shops": "shop"}} | roles}
    )


WITH_BLANKS = {"basic": {"sequences": {"a": "b"}, "separator": " "}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # In the order of the groups in use.
        (
            written(use=["spare", "basic"]),
            {
                "sequences": ("shops", "events"),
                "targets": ("shop", "item"),
                "features": ("country", "shop", "item", "age", "shops", "events"),
            },
        ),
        # Numeric columns can be context too, and stay numeric.
        (
            shop(context=["f_{3..4}", "ad"], numeric=["price", "f_{2..4}"]),
            {
                "numeric": ("price", "f_2", "f_3", "f_4"),
                "categorical": ("item", "shop", "ad"),
                "context": ("ad",),
                "ids": ("f_3", "f_4"),
                "event_time": None,
            },
        ),
        (
            shop(share_embedding=["shops", "events"], times={"when": "now"}),
            {
                "shared": ("events", "shops"),
                "sequence_columns": ("events", "shops", "when"),
                "row_time": "now",
            },
        ),
        # A group without sequences has no separator.
        (written(groups=written()["groups"] | WITH_BLANKS), {"separator": " "}),
    ],
)
def test_roles_come_from_the_groups_in_use_and_survive_json(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    columns = Columns.from_config(given)
    assert {name: getattr(columns, name) for name in expected} == expected
    plain = json.loads(json.dumps(columns.to_dict("label", "id", "shared", "ids")))
    assert TypeAdapter(Columns).validate_python(plain) == columns


def test_a_range_is_written_out_where_it_stands() -> None:
    assert expand_ranges(["a", "f_{9..11}_x", "b"]) == ["a", "f_9_x", "f_10_x", "f_11_x", "b"]
    assert expand_ranges(["{08..10}", "f{0..1}"]) == ["08", "09", "10", "f0", "f1"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (written(use=["basic", "mony"]), "mony"),
        (written(use=["empty"], groups={"empty": {}}), "use.*no column"),
        (written(use=["a"], groups={"a": {"times": {"when": "now"}}}), "sequence"),
        (written(label="price"), "price"),
        (written(id="y"), "y"),
        (shop(times={"when": "now", "then": "today"}), "then"),
        (shop(share_embedding=["item"]), "item"),
        (shop(numeric=["f_{1..3}", "f_2"]), "f_2"),
        (shop(numeric=["f_{1..99999999999}"]), r"f_\{1\.\.9+\}"),
        (shop(profile=["x"], context=["x"]), "x"),
        (shop(sequences={"events": "item", "shops": "item"}), "item"),
        (
            written(use=["basic", "spare"], groups=written()["groups"] | WITH_BLANKS),
            "separators.*spare",
        ),
    ],
)
def test_contradicting_roles_are_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=rf"^columns.*\b{named}"):
        Columns.from_config(given)


@pytest.fixture
def config() -> Config:
    return shipped()


@pytest.fixture
def checked(config: Config) -> Config:
    return checked_config(config)


def named(config: Config) -> list[str]:
    """The keys that a refusal names, of a config that is refused."""
    with pytest.raises(UserError) as refusal:
        checked_config(config)
    lines = [line for line in str(refusal.value).splitlines() if line.startswith("  - ")]
    return sorted(line.removeprefix("  - ").split(": ")[0] for line in lines)


def test_the_config_as_shipped_shows_the_declared_defaults(config: Config, checked: Config) -> None:
    assert checked_config(config, [CONFIG]) == checked
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


def test_all_errors_are_listed_at_once_by_their_paths(config: Config) -> None:
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
        load_table_file({"table": "table.yaml"}, folders)
    for folder in reversed(folders):
        (folder / "table.yaml").write_text("score: auc")
        assert load_table_file({"table": "table.yaml"}, folders)[1] == [folder / "table.yaml"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\nb: 2\na: 3\n", [3]),
        ('{\n\t"a": {"b": 1,\n\t"b": 2}}', [3]),
        ("a: &x {c: 1}\nb: *x\nc:\n  <<: *x\n  d: {c: 1}\n", []),
    ],
)
def test_what_yaml_takes_otherwise_than_it_looks_is_named_with_its_line(
    tmp_path: Path, text: str, lines: list[int]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    named = [line.removeprefix(f"{file}, line ").split(":")[0] for line in repeated_keys([file])]
    assert sorted(map(int, named)) == lines


def test_errors_of_a_search_space_are_named_and_a_sound_one_passes() -> None:
    wrong = {
        "model.max_len": [50],
        "boosting.bags": [1, 3],
        "boosting.max_depth": {"low": 3, "high": 17},
        "model.dropout": [],
        "model.heads": {"low": 1, "high": 8, "step": 0.5},
        "train.embedding_l2": {"low": 0.3, "high": 0.1},
        "train.learning_rate": {"low": 0.0, "high": 0.3, "log": True},
    }
    (line,) = validation_errors(TuneConfig, {"space": wrong}, "tuning")
    named = re.findall(r"[:;] ((?:model|train|boosting)[\w.]+):", line)
    assert list(dict.fromkeys(named)) == [*wrong]
    sound = {
        "model.dropout": {"low": 0.1, "high": 0.4, "step": 0.1},
        "train.embedding_l2": {"low": 1, "high": 2.5},
        "train.evaluations_per_epoch": ["auto", 4],
    }
    assert not validation_errors(TuneConfig, {"space": sound}, "tuning")


README = CONFIG.with_name("README.md").read_text()


def test_the_page_of_all_keys_is_in_step_with_the_declared_settings() -> None:
    assert with_tables(README) == README, "run `make reference` and commit what it changes"
    rows = list(key_rows())
    assert [path for path, _, _, meaning in rows if not meaning] == []
    assert [path for path, *_ in rows if README.count(f"\n| `{path}` |") != 1] == []
    named = re.findall(r"`([a-z_]+(?:\.[a-z0-9_<>]+)+)`", README)
    assert {*named} <= {path for path, *_ in rows} | {"config.yaml", "toss.yaml", "changes.yaml"}


def test_a_variant_lies_over_the_size_which_lies_over_the_shared_settings(checked: Config) -> None:
    checked["variants"] = {"wide": {"model": {"embedding_dim": 64}, "train": {"seed": 1}}}
    put(checked, "sizes.full.model.dropout", 0.75)
    toy, full = (block_settings(checked, size, "model") for size in ("toy", "full"))
    assert full["dropout"] == 0.75
    assert toy["dropout"] == checked["model"]["dropout"] != 0.75
    made, plain = (kind_of(n).settings(checked, "full", n) for n in ("len150-wide", "len150"))
    assert plain["model"] == full | {"max_len": 150}
    assert made["model"] == plain["model"] | {"embedding_dim": 64}
    assert made["train"] == plain["train"] | {"seed": 1}


def test_a_job_of_an_unknown_size_or_model_is_refused(checked: Config) -> None:
    put(checked, "sizes.medium.max_len", [150, 500])
    checked["variants"]["odd"] = {"model": {"heads": 7}}
    columns = Columns.from_config(checked["table"]["columns"])
    check_job(checked, columns, {"size": "toy"})
    check_job(checked, columns, {"size": "full", "model": "len150-feseq_paper"})
    for size, model, message in (
        ("medium", "len151", r"sizes.medium.max_len is \[150, 500\]; add 151"),
        ("full", "len150-odd", "model.heads of len150-odd, size full: .* 7 heads"),
        ("full", "bosting", r"such as len150\) or boosting"),
        ("full", "boosting-gone", "no variant 'gone'"),
        ("full", "boosting-feseq_paper", "no setting of boosting"),
        ("fulll", "len150", "'fulll'.*, full"),
    ):
        with pytest.raises(UserError, match=message):
            check_job(checked, columns, {"size": size, "model": model})


MEDIUM = "boosting len500 logistic_regression constant len150-feseq_paper"
FULL = "len150 constant len150-feseq_paper"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (
            ["summary.md", "medium/data.md", "full/blend/metrics.json"],
            {"toy": "len100 constant", "medium": MEDIUM, "full": FULL},
        ),
        (["toy/len100/metrics.json"], {"toy": "len100 constant"}),
        (
            ["submission_toy.csv", "medium/boosting/plots/calibration.svg"],
            {"toy": "len100 boosting blend constant", "medium": MEDIUM},
        ),
        # All that submit are trained, and so their blend is there.
        (["full/len500/metrics.json"], {"full": "len500 len150 blend constant len150-feseq_paper"}),
    ],
)
def test_the_comparison_has_the_sizes_of_trained_models_and_none_that_targets_do_not_name(
    checked: Config, tmp_path: Path, targets: list[str], expected: dict[str, str]
) -> None:
    put(checked, "sizes.full.submission_models", ["len150", "len500"])
    put(checked, "evaluation.baselines", ["constant", "len150-feseq_paper"])
    trained = ("toy/len100", "toy/len100-gone", "toy/len7", "full/len150", "medium/boosting")
    files = [f"{model}/model.safetensors" for model in trained]
    # A training that failed, and a baseline, which is no model.
    files += ["medium/len500/metrics.json", "medium/logistic_regression/metrics.json"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    compared = compared_models(checked, tmp_path, [str(tmp_path / name) for name in targets])
    assert compared == [(size, name) for size in expected for name in expected[size].split()]
    with pytest.raises(UserError, match="submission_medium"):
        compared_models(checked, tmp_path / "toy")
