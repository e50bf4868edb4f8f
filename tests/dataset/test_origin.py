"""The stand-in never takes the place of what was made from real data."""

import dataclasses
import shutil
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


@pytest.mark.parametrize(
    "file", ["submission_toy.json", "toy/len5/training.json", "full/boosting/metrics.json", None]
)
def test_one_real_result_or_h5_file_is_enough_and_is_named(
    data: Path, tmp_path: Path, file: str | None
) -> None:
    results, h5 = tmp_path / "results", tmp_path / "data/h5"
    for name in ("submission_full.json", "toy/len9/training.json", "toy/constant/metrics.json"):
        write_json(results / name, {"simulated_data": True})
    # These say nothing.
    write_json(results / "full/len9/training.json", {"settings": {}})
    (results / "full/len9/metrics.json").write_text("{")
    (h5 / "test").mkdir(parents=True)
    (h5 / "test/part000.h5").write_text("damaged")
    shutil.copy(data / "valid.h5", h5)
    refuse_stand_in_over_real(STAND_IN, results)
    if file is None:
        to_train_h5(h5 / "toy", raw_table())
    else:
        write_json(results / file, {"simulated_data": False})
    refuse_stand_in_over_real(REAL, results)
    with pytest.raises(UserError, match=f"^no train and no test, .*{file or 'train.h5, '}"):
        refuse_stand_in_over_real(STAND_IN, results)
