"""What rules say of trainings: how many rows, which are to come, on which device."""

from pathlib import Path

import pytest

from feseq.catalog import training_times
from feseq.catalog.check import checked_config
from feseq.catalog.training_times import TrainingTimes
from feseq.config.columns import Columns
from feseq.config.names import MODEL_FILE, REFIT
from feseq.raw.location import TableLocation
from feseq.raw.source import RawFiles
from support.configs import put, shipped

MODELS = ("len100", "boosting")


def times(train_rows: int | None, why: str = "", refit: bool = False) -> TrainingTimes:
    config = shipped()
    put(config, "submission.refit", refit)
    checked = checked_config(config)
    raw = RawFiles(TableLocation("train.parquet"), None, None, why)
    columns = Columns.from_config(checked["table"]["columns"])
    return TrainingTimes(checked, raw, columns, train_rows, has_conda=False)


def test_a_size_has_at_most_the_rows_of_the_table_and_without_them_no_time(tmp_path: Path) -> None:
    def message(size: str, known: TrainingTimes) -> str:
        return known.message(tmp_path, (size, "boosting", False), 2)

    assert message("toy", times(70_000)).startswith("1,000 rows, about ")
    assert message("medium", times(70_000)).startswith("70,000 rows, about ")
    assert message("medium", times(None)).startswith("500,000 rows, about ")
    assert message("full", times(None)) == "all rows"
    in_stand_in = shipped()["table"]["simulation"]["train_rows"]
    assert message("full", times(None, "simulated")).startswith(f"{in_stand_in:,} rows, about ")


def test_where_nearly_all_rows_are_held_out_there_is_a_time_too(tmp_path: Path) -> None:
    known = times(40)
    put(known.config, "sampling.valid_share", 0.99)
    for model in ("len100", "boosting"):
        assert known.message(tmp_path, ("toy", model, False), 2).startswith("40 rows, about ")


@pytest.mark.parametrize("refit", [False, True])
def test_a_submission_waits_for_the_trainings_whose_models_are_not_there(
    tmp_path: Path, refit: bool
) -> None:
    known = times(900_000, refit=refit)
    trainings = [("toy", model, fit) for model in MODELS for fit in ([False, True][: 1 + refit])]
    while trainings:
        expected = known.text(tmp_path, trainings, 2)
        assert expected
        assert known.missing(tmp_path, "toy", 2) == expected
        size, model, is_refit = trainings.pop()
        folder = tmp_path / size / model / (REFIT if is_refit else "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).touch()
    assert known.missing(tmp_path, "toy", 2) == ""


def test_a_gpu_counts_where_jobs_run_elsewhere_or_this_machine_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, training = times(900_000), [("full", "len150", False)]
    monkeypatch.setattr(training_times, "has_cuda_device", lambda: False)
    assert "2 cores" in known.text(tmp_path, training, 2)
    # Without a timed training there, the time on a GPU is not known.
    assert known.text(tmp_path, training, None) == ""
    assert "8 cores" in known.text(tmp_path, [("full", "boosting", False)], None)
    monkeypatch.setattr(training_times, "has_cuda_device", lambda: True)
    assert known.text(tmp_path, training, 2) == ""
