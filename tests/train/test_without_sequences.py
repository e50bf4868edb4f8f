"""Tables without a sequence: networks have an empty history, and all the rest is as ever."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.opening import open_table
from feseq.predict.model_file import TrainedModel
from feseq.serve.check_rows import raw_rows
from feseq.serve.export import export_model
from feseq.serve.scorer import Scorer
from support.raw_tables import COLUMNS, raw_table, to_train_h5, with_roles
from support.trainings import FOUR_EPOCHS, SMALL_MODEL, train

WITHOUT = with_roles(sequences=(), targets=())
# All that has a part for the history or the target.
MODEL = replace(
    SMALL_MODEL,
    pooling="weighted_sum",
    shortcuts=True,
    crossing=3,
)


def trained(folder: Path, columns: Columns, model: ModelConfig) -> tuple[Path, Path]:
    """The model of a small table whose histories are empty and targets missing; valid.h5."""
    nothing = pa.nulls(160, pa.string())
    table = raw_table(160, events=nothing, item=nothing)
    h5, valid = to_train_h5(folder, table, columns=columns)
    fit_feature_map(h5, columns, 1).write(folder / "feature_map.json")
    return train(folder, folder, replace(FOUR_EPOCHS, batch_size=16), model)["model"], valid


@pytest.mark.parametrize("model", [SMALL_MODEL, MODEL], ids=["plain", "all"])
def test_it_is_trained_as_if_its_only_sequence_were_always_empty(
    tmp_path: Path, model: ModelConfig
) -> None:
    logits = []
    for name, columns in (("without", WITHOUT), ("empty", COLUMNS)):
        file, valid = trained(tmp_path / name, columns, model)
        with open_table(valid) as table:
            logits.append(TrainedModel.load(file).predict(table))
    assert np.ptp(logits[0]) > 0
    np.testing.assert_array_equal(*logits)


def test_it_is_served(tmp_path: Path) -> None:
    file, valid = trained(tmp_path / "made", WITHOUT, MODEL)
    export_model(file, valid, tmp_path / "model.onnx")
    scorer = Scorer.load(tmp_path / "model.onnx")
    assert scorer.raw_columns == ["country", "price", "age"]
    with open_table(valid) as table:
        expected, rows = TrainedModel.load(file).predict(table), raw_rows(table, table.rows)
    np.testing.assert_allclose(scorer.logits(rows), expected, 1e-5, 1e-5)
