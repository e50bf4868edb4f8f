"""Tables without a sequence: networks have an empty history, and all the rest is as ever."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.opening import open_table
from feseq.predict.model_file import TrainedModel
from feseq.serve.check_rows import raw_rows
from feseq.serve.export import export_model
from feseq.serve.scorer import Scorer
from support.raw_tables import COLUMNS, raw_table, to_train_h5, with_roles
from support.trainings import FOUR_EPOCHS, SMALL_MODEL, train

# All that has a part for the history or the target.
MODEL = replace(SMALL_MODEL, pooling="weighted_sum", shortcuts=True, crossing=3)


def test_it_is_trained_and_served_as_if_its_only_sequence_were_always_empty(tmp_path: Path) -> None:
    logits, nothing = [], pa.nulls(160, pa.string())
    table = raw_table(160, events=nothing, item=nothing)
    for columns in (COLUMNS, with_roles(sequences=(), targets=())):
        h5, valid = to_train_h5(tmp_path, table, columns=columns)
        fit_feature_map(h5, columns, 1).write(tmp_path / "feature_map.json")
        config = replace(FOUR_EPOCHS, batch_size=16)
        file = train(tmp_path, tmp_path / str(len(logits)), config, MODEL)["model"]
        with open_table(valid) as opened:
            logits.append(TrainedModel.load(file).predict(opened))
            rows = raw_rows(opened, opened.rows)
    assert np.ptp(logits[0]) > 0
    np.testing.assert_array_equal(*logits)
    export_model(file, valid, tmp_path / "model.onnx")
    scorer = Scorer.load(tmp_path / "model.onnx")
    assert scorer.raw_columns == ["country", "price", "age"]
    np.testing.assert_allclose(scorer.logits(rows), logits[1], 1e-5, 1e-5)
