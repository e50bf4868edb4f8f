"""How long a training may take: a guess, and then what earlier ones took."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from feseq.catalog.families import family_of
from feseq.catalog.models import model_settings
from feseq.common.files import write_json
from feseq.config.columns import Columns
from feseq.config.names import Settings
from feseq.family.base import Family, Work
from feseq.family.expected_time import Expected, expected_time, known_facts, time_text
from support import REPOSITORY

CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
COLUMNS = Columns(
    label="clicked",
    id="ID",
    profile=("gender",),
    context=tuple("abcdef"),
    numeric=tuple(f"f{i}" for i in range(112)),
    sequences=("seq",),
    targets=("item",),
)
WORK = Work(45_000, 5_000, COLUMNS, cores=2, click_rate=0.02, length=20)
MEDIUM = replace(WORK, rows=428_707, valid_rows=33_000, length=500)

REFIT = replace(MEDIUM, rows=500_000, valid_rows=71_293, refit=True)


def settings_of(name: str, size: str = "full", **changes: Any) -> Settings:
    blocks = dict(model_settings(CONFIG, size, name))
    for block, declared in family_of(name).blocks.items():
        made = declared(**{**blocks[block], **changes.get(block, {})})
        blocks[block] = json.loads(json.dumps(made.__dict__))  # as a config has them
    return blocks


def expect(
    results: Path, model: str, settings: Settings, work: Work = WORK, device: str = "cpu"
) -> Expected | None:
    return expected_time(results, model, family_of(model), settings, work, device)


def put(
    results: Path, name: str, seconds: float, settings: Settings, work: Work = WORK, **facts: Any
) -> None:
    """The training.json of a training of `work` that took so long."""
    training = {
        "train_rows": work.rows,
        "valid_rows": work.valid_rows,
        "click_rate": work.click_rate,
        "threads": work.cores,
        "device": "cpu",
        "seconds": seconds,
        "settings": {key: value for block in settings.values() for key, value in block.items()},
    }
    (results / name).mkdir(parents=True)
    write_json(results / name / "training.json", training | facts)


# Seconds on two cores, with one bag; benchmarks/README.md and the README have them.
@pytest.mark.parametrize(
    ("model", "size", "work", "seconds"),
    [
        ("len150", "full", WORK, 105),
        ("boosting", "full", WORK, 40),
        ("boosting-plain", "full", WORK, 14),
        ("len150", "medium", MEDIUM, 944),
        ("boosting", "medium", MEDIUM, 214),
        ("len150", "full", replace(MEDIUM, rows=9_177_915, valid_rows=200_000), 2.8 * 3600),
        ("len150", "full", replace(WORK, rows=58_000, valid_rows=8_270, refit=True), 17),
        ("len150", "medium", REFIT, 226),
        ("boosting", "medium", REFIT, 45),
    ],
)
def test_a_guess_is_within_a_factor_of_two_of_what_was_measured(
    tmp_path: Path, model: str, size: str, work: Work, seconds: float
) -> None:
    settings = settings_of(model, size, boosting={"bags": 1})
    guess = expect(tmp_path, model, settings, work)
    assert guess is not None
    assert seconds / 2 < guess.seconds < seconds * 2
    assert guess.by is None
    assert expect(tmp_path, model, settings, work, device="cuda") is None


def test_a_timed_training_scales_the_guess_to_other_rows_and_cores(tmp_path: Path) -> None:
    settings = settings_of("boosting")
    # What a table of ten times the rows took on the same machine.
    put(tmp_path, "full/boosting", 40.4, settings)
    expected = expect(
        tmp_path, "boosting", settings, replace(WORK, rows=450_000, valid_rows=50_000)
    )
    assert expected is not None
    assert expected.by == tmp_path / "full/boosting"
    assert expected.seconds == pytest.approx(158, rel=0.25)
    other = expect(tmp_path, "boosting", settings, replace(WORK, cores=1))
    assert other is not None
    assert other.seconds > 50


def test_of_several_timed_trainings_the_same_settings_count_then_the_longest(
    tmp_path: Path,
) -> None:
    settings = settings_of("len150")

    def by() -> Path | None:
        expected = expect(tmp_path, "len150", settings)
        assert expected is not None
        return expected.by and expected.by.relative_to(tmp_path)

    put(tmp_path, "full/boosting", 9_000, settings_of("boosting"))
    put(tmp_path, "full/len100", 9_000, settings_of("len150"), device="cuda")
    (tmp_path / "toy/len150").mkdir(parents=True)
    (tmp_path / "toy/len150/training.json").write_text("{}")
    put(tmp_path, "medium/len100", 8, settings_of("len150"))
    assert by() is None
    put(tmp_path, "full/len150-light", 60, settings_of("len150", model={"transformer_layers": 0}))
    put(tmp_path, "medium/len150", 300, settings_of("len150", "medium"))
    assert by() == Path("medium/len150")
    put(tmp_path, "full/len150", 20, settings_of("len150", train={"seed": 7}))
    assert by() == Path("full/len150")


def test_a_family_without_a_guess_is_expected_once_it_was_timed(tmp_path: Path) -> None:
    family = Family("families.own", "own", "train", {}, {})
    expected = lambda rows: expected_time(  # noqa: E731
        tmp_path, "own", family, {}, replace(WORK, rows=rows), "cpu"
    )
    assert expected(100) is None
    put(tmp_path, "toy/own", 60, {}, replace(WORK, rows=100))
    assert expected(300).seconds == pytest.approx(180)


def test_the_time_of_several_trainings_is_their_sum_and_a_guess_if_one_is() -> None:
    timed, guess = Expected(100, 2, Path("results/full/len150")), Expected(200, 2, None)
    assert "results/full/len150" in time_text([timed])
    assert "5 min on 2 cores" in time_text([timed, guess])
    assert "guess" in time_text([timed, guess])
    assert "guess" not in time_text([timed, timed])
    assert time_text([]) == time_text([timed, None]) == ""


def test_facts_of_the_data_are_known_once_they_are_described(tmp_path: Path) -> None:
    assert known_facts(tmp_path) == (None, None)
    facts = {"clicks": {"train": 5}, "rows": {"train": 50}, "sequences": [{"mean": {"train": 7}}]}
    (tmp_path / "toy").mkdir()
    write_json(tmp_path / "toy/data.json", facts)
    assert known_facts(tmp_path) == (0.1, 7)
