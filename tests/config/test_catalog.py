"""The settings of a size and a model, and which models there are."""

from pathlib import Path

import pytest

from feseq.common.errors import UserError
from feseq.config.catalog import (
    check_job,
    compared_models,
    model_settings,
    size_settings,
)
from feseq.config.check import checked_config
from feseq.config.columns import Columns
from support.configs import Config, put


@pytest.fixture
def config(config: Config) -> Config:
    return checked_config(config)


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
    assert made["model"]["max_len"] == 500
    assert made["train"]["batch_size"] == config["sizes"]["medium"]["train"]["batch_size"]
    with pytest.raises(UserError, match=r"max_len 100 is not listed for size medium.*\[150, 500\]"):
        model_settings(config, "medium", "len100")


def test_a_variant_lies_over_the_size_which_lies_over_the_shared_settings(config: Config) -> None:
    config["variants"] = {"wide": {"model": {"embedding_dim": 64}, "train": {"seed": 1}}}
    put(config, "sizes.full.model.dropout", 0.5)
    made, plain = (model_settings(config, "full", name) for name in ("len150-wide", "len150"))
    assert made["model"] == plain["model"] | {"embedding_dim": 64}
    assert made["train"] == plain["train"] | {"seed": 1}
    assert plain["model"]["dropout"] == 0.5


def test_a_job_of_an_unknown_size_or_model_is_refused(config: Config) -> None:
    put(config, "sizes.medium.max_len", [150, 500])
    config["variants"]["odd"] = {"model": {"heads": 7}}
    columns = Columns.from_config(config["columns"])
    check_job(config, columns, {"size": "toy"})
    check_job(config, columns, {"size": "full", "model": "len150-feseq_paper"})
    check_job(config, columns, {"size": "full", "model": "boosting-plain"})
    for size, model, message in (
        ("medium", "len151", r"max_len 151 .* medium.*\[150, 500\]"),
        ("medium", "len150-feseq_papr", "'feseq_paper'"),
        ("full", "len150-odd", "model.heads of len150-odd, size full: 7 heads"),
        ("full", "bosting", "such as len150, or boosting"),
        ("full", "constant", "not the name of a model"),
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


def test_without_targets_the_comparison_has_each_size_with_a_trained_model(
    config: Config, trained: Path
) -> None:
    assert compared_models(config, trained) == [*TOY, *MEDIUM, *FULL]
    with pytest.raises(UserError, match="submission_medium"):
        compared_models(config, trained / "toy")


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["summary.md", "medium/data.md", "full/blend/metrics.json"], [*TOY, *MEDIUM, *FULL]),
        (["toy/len100/metrics.json"], TOY),
        (["submission_toy.csv", "medium/boosting/plots/roc_pr.svg"], [*TOY, *MEDIUM]),
        (
            ["submission_full.csv", "summary.md"],
            [("full", name) for name in ("len150", "len500", "blend", "constant", PAPER)],
        ),
        (["medium/len150/metrics.json"], [("medium", "len150"), *MEDIUM]),
    ],
)
def test_the_comparison_has_no_size_that_the_targets_do_not_name(
    config: Config, trained: Path, targets: list[str], expected: list[tuple[str, str]]
) -> None:
    files = [str(trained / name) for name in targets]
    assert compared_models(config, trained, files) == expected
