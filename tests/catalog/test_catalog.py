"""Column roles, the settings of a size and a model, and which models there are."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from support.configs import Config, put, shipped
from tossctr.catalog.check import checked_config
from tossctr.catalog.model_kinds import check_job, compared_models, model_settings
from tossctr.common.errors import UserError
from tossctr.config.columns import Columns, expand
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


NUMBERS = ("price", "f_2", "f_3", "f_4")
OF_ALL_KINDS = shop(
    # Numeric columns can be context too, and stay numeric.
    context=["f_{3..4}", "ad"],
    numeric=["price", "f_{2..4}"],
    share_embedding=["shops", "events"],
    times={"when": "now"},
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
                "categorical": ("country", "shop", "item"),
                "features": ("country", "shop", "item", "age", "shops", "events"),
                "event_time": None,
            },
        ),
        (
            OF_ALL_KINDS,
            {
                "numeric": NUMBERS,
                "categorical": ("item", "shop", "ad"),
                "context": ("ad",),
                "ids": ("f_3", "f_4"),
                "event_time": "when",
                "row_time": "now",
                "ragged": ("events", "shops", "when"),
                "shared": ("events", "shops"),
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
    plain = json.loads(json.dumps(columns.plain("label", "id", "shared", "ids")))
    assert TypeAdapter(Columns).validate_python(plain) == columns


def test_a_range_is_written_out_where_it_stands() -> None:
    assert expand(["a", "f_{9..11}_x", "b"]) == ["a", "f_9_x", "f_10_x", "f_11_x", "b"]
    assert expand(["{08..10}", "f{0..1}"]) == ["08", "09", "10", "f0", "f1"]


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
    return checked_config(shipped())


def test_a_variant_lies_over_the_size_which_lies_over_the_shared_settings(config: Config) -> None:
    config["variants"] = {"wide": {"model": {"embedding_dim": 64}, "train": {"seed": 1}}}
    put(config, "sizes.full.model.dropout", 0.75)
    toy, full = (block_settings(config, size, "model") for size in ("toy", "full"))
    assert full["dropout"] == 0.75
    assert toy["dropout"] == config["model"]["dropout"] != 0.75
    made, plain = (model_settings(config, "full", name) for name in ("len150-wide", "len150"))
    assert plain["model"] == full | {"max_len": 150}
    assert made["model"] == plain["model"] | {"embedding_dim": 64}
    assert made["train"] == plain["train"] | {"seed": 1}


def test_a_job_of_an_unknown_size_or_model_is_refused(config: Config) -> None:
    put(config, "sizes.medium.max_len", [150, 500])
    config["variants"]["odd"] = {"model": {"heads": 7}}
    columns = Columns.from_config(config["table"]["columns"])
    check_job(config, columns, {"size": "toy"})
    check_job(config, columns, {"size": "full", "model": "len150-feseq_paper"})
    for size, model, message in (
        ("medium", "len151", r"max_len 151 .* medium.*\[150, 500\]"),
        ("full", "len150-odd", "model.heads of len150-odd, size full: 7 heads"),
        ("full", "bosting", "such as len150, or boosting"),
        ("full", "boosting-gone", "no variant 'gone'"),
        ("full", "boosting-feseq_paper", "has no settings of boosting"),
        ("fulll", "len150", "'fulll'.*'full'"),
    ):
        with pytest.raises(UserError, match=message):
            check_job(config, columns, {"size": size, "model": model})


@pytest.fixture
def trained(config: Config, tmp_path: Path) -> Path:
    """A folder of results with trained models, and others."""
    put(config, "sizes.full.submission_models", ["len150", "len500"])
    put(config, "evaluation.baselines", ["constant", "len150-feseq_paper"])
    for name in ("toy/len100", "toy/len100-gone", "toy/len7", "full/len150", "medium/boosting"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.safetensors").touch()
    # Its training failed; the baseline is no model.
    for name in ("medium/len500", "medium/logistic_regression"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").touch()
    (tmp_path / "toy/len100-feseq_paper").mkdir()
    return tmp_path


PAPER = "len150-feseq_paper"
TOY = [("toy", "len100"), ("toy", "constant")]
MEDIUM = [
    ("medium", name) for name in ("boosting", "len500", "logistic_regression", "constant", PAPER)
]
FULL = [("full", name) for name in ("len150", "constant", PAPER)]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["summary.md", "medium/data.md", "full/blend/metrics.json"], [*TOY, *MEDIUM, *FULL]),
        (["toy/len100/metrics.json"], TOY),
        (
            ["submission_toy.csv", "medium/boosting/plots/calibration.svg"],
            [("toy", name) for name in ("len100", "boosting", "blend", "constant")] + MEDIUM,
        ),
        # All that submit are trained, and so their blend is there.
        (
            ["medium/len150/metrics.json"],
            [("medium", "len150"), *MEDIUM[:3], ("medium", "blend"), *MEDIUM[3:]],
        ),
    ],
)
def test_the_comparison_has_the_sizes_of_trained_models_and_none_that_targets_do_not_name(
    config: Config, trained: Path, targets: list[str], expected: list[tuple[str, str]]
) -> None:
    files = [str(trained / name) for name in targets]
    assert compared_models(config, trained, files) == expected
    with pytest.raises(UserError, match="submission_medium"):
        compared_models(config, trained / "toy")
