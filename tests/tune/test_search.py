"""A tuning finds what it says it found, and ends as it would have, however often it is killed."""

import csv
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from feseq.common.errors import UserError
from feseq.config.runtime import Runtime
from feseq.config.space import TuneConfig
from feseq.dataset.feature_map import fit_feature_map
from feseq.train.checkpoint import locked
from feseq.train.run import TrainingRun, train_model
from feseq.tune import network as network_module
from feseq.tune.network import TunedNetwork
from feseq.tune.search import tune_model
from support import SCRIPTS
from support.processes import PATIENCE_SECONDS, forked_workers, read_until, running, spawned_by
from support.raw_tables import COLUMNS, raw_table, to_train_h5
from support.trainings import MODEL, TRAIN

pytestmark = pytest.mark.workflow

SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "model.dropout": {"low": 0.0, "high": 0.3},
    "model.pooling": ["mean", "weighted_sum"],
    "model.mlp": [[8], [8, 4]],
    "model.transformer_layers": {"low": 1, "high": 2},
}
CONFIG = TuneConfig(trials=7, workers=1, seed=5, startup_trials=3, space=SPACE)
SMALL_MODEL = replace(MODEL, max_len=5, embedding_dim=4, heads=1, mlp=(8,), attention_dim=8)
SMALL_TRAIN = replace(TRAIN, batch_size=30, epochs=3)
# The lines of a log, as a script writes it.
LINE = re.compile(r"\d\d:\d\d:\d\d (INFO|WARNING|ERROR) ")
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 train rows and 30 validation rows as H5 files, and the feature map."""
    folder = tmp_path_factory.mktemp("data")
    train, _ = to_train_h5(folder, raw_table(120, seed=1))
    fit_feature_map(train, COLUMNS, 1).write(folder / "feature_map.json")
    return folder


def a_tuning(data: Path, **train: Any) -> TrainingRun:
    return TrainingRun(
        data / "train.h5",
        data / "valid.h5",
        data / "feature_map.json",
        SMALL_MODEL,
        replace(SMALL_TRAIN, **train),
    )


def tune(data: Path, out: Path, train: dict[str, Any] | None = None, **config: Any) -> Rows:
    """Tune into `out`; the rows of trials.csv without their times."""
    outputs = {"best": out / "best.yaml", "trials": out / "trials.csv"}
    tune_model(
        TunedNetwork(a_tuning(data, **(train or {})), "len5"),
        outputs,
        size="toy",
        tune_config=CONFIG.model_copy(update=config),
        runtime=Runtime(device="cpu"),
        threads=1,
    )
    return read_rows(out)


def read_rows(out: Path) -> Rows:
    with open(out / "trials.csv") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row.pop("seconds")) >= 0 for row in rows)
    return rows


def start(data: Path, out: Path, **config: Any) -> subprocess.Popen[str]:
    """The same by the script, in a process group of its own."""
    arguments: dict[str, Any] = {
        "train": data / "train.h5",
        "valid": data / "valid.h5",
        "feature_map": data / "feature_map.json",
        "settings": json.dumps({"model": vars(SMALL_MODEL), "train": vars(SMALL_TRAIN)}),
        "model": "len5",
        "variant": "{}",
        "tuning": json.dumps(vars(CONFIG.model_copy(update=config))),
        "runtime": '{"device": "cpu"}',
        "threads": 1,
        "size": "toy",
        "best": out / "best.yaml",
        "trials": out / "trials.csv",
    }
    command = [sys.executable, str(SCRIPTS / "tune.py")]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tuning that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    tune(data, out)
    return out


@pytest.mark.slow
def test_a_killed_tuning_ends_like_an_undisturbed_one(
    data: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lines: list[str] = []
    for trial, delay in ((2, 0.02), (5, 0.1)):
        process = start(data, tmp_path)
        lines += read_until(process, f"trial {trial} of 7")
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        lines += process.communicate()[1].splitlines(keepends=True)
    assert tune(data, tmp_path) == read_rows(undisturbed)
    assert yaml.safe_load((tmp_path / "best.yaml").read_text()) == yaml.safe_load(
        (undisturbed / "best.yaml").read_text()
    )
    # At most one line a trial, since finished ones are not done again, and nothing speaks but our
    # log. A kill may fall between the end of a trial and its line.
    said = "".join(lines) + caplog.text
    ended = [int(number) for number in re.findall(r"trial (\d+) of 7: (?:com|pru)", said)]
    assert ended == sorted(set(ended))
    assert len(set(range(1, 8)) - set(ended)) <= 2
    assert said.count("going on with a tuning: ") == 2
    assert all(LINE.match(line) for line in lines)


def test_a_tuning_draws_at_random_first_and_then_by_what_it_found(undisturbed: Path) -> None:
    rows = read_rows(undisturbed)
    assert [int(row["number"]) for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    rates = {row["train.learning_rate"] for row in rows}
    assert len(rates) == 7
    assert all(1e-4 <= float(rate) <= 1e-1 for rate in rates)
    for row in rows:
        assert row["model.pooling"] in SPACE["model.pooling"]
        assert json.loads(row["model.mlp"]) in SPACE["model.mlp"]
        assert row["model.transformer_layers"] in ("1", "2")
        found = float(row["auc"]) - float(row["logloss"])
        assert float(row["value"]) == pytest.approx(found, abs=1e-12)


def test_the_best_settings_give_the_best_value_again(
    data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    text = (undisturbed / "best.yaml").read_text()
    content = yaml.safe_load(text)
    (variant,) = content["variants"].values()
    found = {f"{block}.{key}" for block, keys in variant.items() for key in keys}
    assert (set(content), set(content["variants"]), found) == (
        {"variants"},
        {"tuned_toy_len5"},
        set(SPACE),
    )
    complete = [row for row in read_rows(undisturbed) if row["state"] == "complete"]
    best = max(float(row["value"]) for row in complete)
    train_model(
        TrainingRun(
            *(data / name for name in ("train.h5", "valid.h5", "feature_map.json")),
            replace(SMALL_MODEL, **variant["model"]),
            replace(SMALL_TRAIN, **variant["train"]),
        ),
        {name: tmp_path / name for name in ("model", "history", "training")},
        runtime=Runtime(device="cpu", verbosity=0),
    )
    with open(tmp_path / "history") as file:
        assert max(float(row["monitor"]) for row in csv.DictReader(file)) == best
    target = "results/toy/len5-tuned_toy_len5/model.safetensors"
    command = f"{target} --configfile {undisturbed}/best.yaml"
    assert f"#   snakemake --cores 4 {command}\n" in text
    assert all(len(line) <= 100 or "--configfile" in line for line in text.splitlines())


def test_more_trials_go_on_from_those_that_are_there(
    data: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    whole = read_rows(undisturbed)
    assert tune(data, tmp_path, trials=4) == whole[:4]
    caplog.clear()
    assert tune(data, tmp_path) == whole
    assert "going on with a tuning: 4 of 7 trials are done" in caplog.text
    assert "trial 4 of 7" not in caplog.text
    assert "trial 5 of 7" in caplog.text
    # Fewer are the first ones.
    assert tune(data, tmp_path, trials=2) == whole[:2]


def test_another_key_tunes_from_the_start_and_leaves_the_other_study_alone(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = tune(data, tmp_path, trials=2)
    changes: list[dict[str, Any]] = [
        {"seed": 6},
        {"space": SPACE | {"model.dropout": [0.1, 0.2]}},
        {"train": {"epochs": 1}},
    ]
    for change in changes:
        caplog.clear()
        other = tune(data, tmp_path, trials=2, **change)
        assert "belongs to other settings, data or code: tuning from the start" in caplog.text
        assert "trial 1 of 2" in caplog.text
        assert other != first
    caplog.clear()
    assert tune(data, tmp_path, trials=2) == first
    assert "trial 1 of 2:" not in caplog.text.replace("best: trial 1 of 2", "")


def test_settings_that_cannot_be_are_pruned_trials(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # The width is a multiple of 4; so high a weight makes the loss infinite.
    space = {"model.heads": [1, 7], "train.embedding_l2": [0, 1e300]}
    rows = tune(data, tmp_path, space=space, trials=12, startup_trials=12)
    assert {(row["model.heads"], row["train.embedding_l2"]) for row in rows} == {
        (heads, weight) for heads in ("1", "7") for weight in ("0", "1e+300")
    }
    for row in rows:
        is_sound = row["model.heads"] == "1" and row["train.embedding_l2"] == "0"
        assert row["state"] == ("complete" if is_sound else "pruned")
        assert bool(row["value"]) == is_sound
        assert (row["steps"] == "0") == (row["model.heads"] == "7")
    assert "7 heads do not divide the width" in caplog.text
    assert re.search(r"pruned.*the training loss is (nan|inf) at step .*; heads 1", caplog.text)
    variant = yaml.safe_load((tmp_path / "best.yaml").read_text())["variants"]["tuned_toy_len5"]
    assert variant == {"model": {"heads": 1}, "train": {"embedding_l2": 0}}


def test_no_trial_that_came_to_an_end_is_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of the 3 trials .* \d+ heads do not divide"):
        tune(data, tmp_path, space={"model.heads": [7, 11]}, trials=3)
    assert not (tmp_path / "best.yaml").exists()


@pytest.mark.parametrize("error", [UserError("the rows do not fit"), ValueError("a fault")])
def test_any_other_error_ends_the_tuning(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(network_module, "make_trainer", fail)
    with pytest.raises(type(error), match=str(error)):
        tune(data, tmp_path)
    assert not (tmp_path / "best.yaml").exists()
    monkeypatch.undo()
    assert len(tune(data, tmp_path, trials=1)) == 1


def scripted(patch: pytest.MonkeyPatch, aucs: list[list[float]]) -> None:
    """Let trial i's evaluations find `aucs[i]`."""
    trainings = iter(aucs)
    original = network_module.make_trainer

    def make_trainer(*arguments: Any, **options: Any) -> Any:
        found = iter(next(trainings))
        patch.setattr(
            "feseq.train.loop.monitored_metrics", lambda *_: {"auc": next(found), "logloss": 0.0}
        )
        return original(*arguments, **options)

    patch.setattr(network_module, "make_trainer", make_trainer)


def test_a_trial_behind_the_median_is_pruned(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    aucs = [[0.50, 0.80, 0.85], [0.60, 0.70, 0.75], [0.70, 0.72, 0.78]]  # before any is judged
    aucs += [[0.59], [0.61, 0.71], [0.62, 0.9, 0.1]]
    scripted(monkeypatch, aucs)
    rows = tune(data, tmp_path, trials=6)
    assert [row["state"] for row in rows] == 3 * ["complete"] + 2 * ["pruned"] + ["complete"]
    assert [row["value"] for row in rows] == ["0.85", "0.75", "0.78", "0.59", "0.71", "0.9"]
    assert [row["epochs"] for row in rows] == ["3", "3", "3", "1", "2", "3"]
    assert [row["steps"] for row in rows] == ["9", "9", "9", "3", "6", "9"]
    line = "pruned, 0.71000 (best 0.85000 of trial 1), below the median in epoch 2 of 3; dropout "
    assert line in caplog.text
    assert "trial 6 of 6: complete, 0.90000 (best so far); dropout " in caplog.text


def test_the_first_half_epoch_and_the_last_evaluation_prune_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [*(3 * [[0.9, 0.9, 0.9]]), [0.1, 0.9, 0.2], [0.1, 0.2]])
    rows = tune(data, tmp_path, {"epochs": 1, "evaluations_per_epoch": 3}, trials=5)
    assert [row["state"] for row in rows] == 4 * ["complete"] + ["pruned"]
    assert [row["steps"] for row in rows] == 4 * ["3"] + ["2"]


def test_a_name_that_the_network_does_not_know_stops_before_any_trial(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"tuning.space.model.pooling: .*'maen' is not one of mean"):
        tune(data, tmp_path, space={"model.pooling": ["mean", "maen"]})
    with pytest.raises(UserError, match=r"tuning.space.model.dropout: 1.5 is not a number"):
        tune(data, tmp_path, space={"model.dropout": {"low": 0.5, "high": 1.5}})
    assert not (tmp_path / "study").exists()


def test_an_unreadable_study_is_put_aside(
    data: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "study").mkdir()
    study = tmp_path / "study/study.db"
    whole = (undisturbed / "study/study.db").read_bytes()
    half = len(whole) // 2
    for damaged in (b"no database" * 999, whole[:half], whole[:4096] + whole[half : half + 4096]):
        study.write_bytes(damaged)
        caplog.clear()
        assert tune(data, tmp_path, trials=1) == read_rows(undisturbed)[:1]
        assert "study.db cannot be read" in caplog.text
        assert study.with_suffix(".unreadable").read_bytes() == damaged


def test_two_tunings_of_one_model_keep_apart(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "73")
    with (
        locked(tmp_path / "study", "is tuning this model already"),
        pytest.raises(UserError, match=rf"process {os.getpid()} on \S+, Slurm job 73 is tuning"),
    ):
        tune(data, tmp_path)


def test_two_workers_do_the_trials_asked_for_and_no_more(data: Path, tmp_path: Path) -> None:
    with forked_workers():
        rows = tune(data, tmp_path, workers=2)
    assert [int(row["number"]) for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert len({row["train.learning_rate"] for row in rows}) == 7
    # What is drawn at random depends on the place alone.
    alone = tune(data, tmp_path / "alone", trials=3)
    names = [name for name in rows[0] if "." in name]
    assert [[row[name] for name in names] for row in rows[:3]] == [
        [row[name] for name in names] for row in alone
    ]


def test_ctrl_c_ends_all_workers_cleanly_and_the_next_run_goes_on(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = start(data, tmp_path, workers=2, trials=1000)
    read_until(process, "trial 2 of 1000")
    os.killpg(process.pid, signal.SIGINT)
    printed = process.communicate()[1]
    assert process.returncode == 130
    assert "ERROR interrupted; the same command goes on" in printed
    # No traceback, and no word of Python on what a worker left.
    assert all(LINE.match(line) for line in printed.splitlines())
    assert not running(process.pid)
    caplog.set_level(logging.INFO)
    assert len(tune(data, tmp_path, trials=5)) == 5
    assert "going on with a tuning: " in caplog.text


@pytest.mark.slow
def test_a_killed_worker_ends_the_tuning_with_one_line(data: Path, tmp_path: Path) -> None:
    process = start(data, tmp_path, workers=2, trials=1000)
    read_until(process, "trial 2 of 1000")
    os.kill(spawned_by(process.pid)[1], signal.SIGKILL)
    printed = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == 1
    assert all(LINE.match(line) for line in printed.splitlines())
    (line,) = (line for line in printed.splitlines() if "ERROR" in line)
    assert "was ended by SIGKILL, perhaps for lack of memory" in line
    assert not running(process.pid)
