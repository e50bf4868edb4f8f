"""The stand-in never takes the place of what was made from real data."""

import dataclasses
from pathlib import Path

import pytest

from feseq.common.errors import UserError
from feseq.common.files import write_json
from feseq.dataset.origin import refuse_stand_in_over_real
from feseq.raw.location import TableLocation
from feseq.raw.source import RawFiles
from support.raw_tables import raw_table, to_train_h5

REAL = RawFiles(TableLocation("train"), TableLocation("test"), None)
STAND_IN = dataclasses.replace(REAL, why="no train and no test")


def refusal(folder: Path) -> str:
    refuse_stand_in_over_real(REAL, folder / "results")
    with pytest.raises(UserError) as refused:
        refuse_stand_in_over_real(STAND_IN, folder / "results")
    message = str(refused.value)
    assert message.startswith("no train and no test, so this run would use the simulated stand-in")
    assert "nothing was run" in message
    assert "--directory" in message
    return message


@pytest.mark.parametrize(
    "file", ["submission_toy.json", "toy/len5/training.json", "full/boosting/metrics.json"]
)
def test_one_real_result_is_enough_and_is_named(tmp_path: Path, file: str) -> None:
    others = ["submission_full.json", "toy/len9/training.json", "toy/constant/metrics.json"]
    for name in others:
        write_json(tmp_path / "results" / name, {"simulated_data": True})
    # Neither says anything.
    write_json(tmp_path / "results/full/len9/training.json", {"settings": {}})
    (tmp_path / "results/full/len9/metrics.json").write_text("{")
    refuse_stand_in_over_real(STAND_IN, tmp_path / "results")
    write_json(tmp_path / "results" / file, {"simulated_data": False})
    assert f"{tmp_path / 'results' / file} were made from real data" in refusal(tmp_path)


def test_real_rows_in_h5_are_enough(tmp_path: Path) -> None:
    (tmp_path / "data/h5/test").mkdir(parents=True)
    (tmp_path / "data/h5/test/part000.h5").write_text("damaged")
    refuse_stand_in_over_real(STAND_IN, tmp_path / "results")
    to_train_h5(tmp_path / "data/h5/toy", raw_table())
    assert "train.h5, " in refusal(tmp_path)


def test_simulated_files_alone_are_no_reason_to_stop(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/h5").symlink_to(data)
    refuse_stand_in_over_real(STAND_IN, tmp_path / "results")
