"""The folds of train rows beside plain loops, and models that saw nothing of what they predict."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feseq.boosting import prediction as boosted
from feseq.boosting.training import train_boosting
from feseq.common.errors import UserError
from feseq.config.boosting import BoostingConfig
from feseq.config.runtime import Runtime
from feseq.config.sampling import Sampling, Split
from feseq.dataset import folds as folds_module
from feseq.dataset.draw_folds import draw_folds
from feseq.dataset.folds import FoldRows, Folds
from feseq.dataset.sampling import draw
from feseq.dataset.selection import TRAIN, Selection
from feseq.dataset.store import H5Table
from feseq.evaluate.measure import measure_predictions
from feseq.evaluate.out_of_fold import join_folds
from feseq.evaluate.trained_model import predict_validation
from feseq.evaluate.valid_predictions import read_predictions
from feseq.raw.reading import open_parquet
from feseq.train.run import TrainingRun, train_model
from support.raw_tables import as_lists, write_raw
from support.trainings import CPU, SMALL_MODEL
from support.trainings import TRAIN as TRAINING

RUNTIME = Runtime(device="cpu", verbosity=0)


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A raw file of 900 rows, of 200 users who come in bursts on 60 days; and its columns."""
    random = np.random.default_rng(3)
    user = random.integers(0, 200, 900)
    day = random.integers(0, 55, 200)[user] + random.integers(0, 6, 900)
    columns = {"y": (random.random(900) < 1 / 3).astype(np.int8), "day": day, "user": user}
    folder = tmp_path_factory.mktemp("users")
    return write_raw(folder, pa.table(columns), row_group_size=100), columns


def folds_of(
    raw: Path, split: Split, rows: int | None = None, folds: int = 4, **options: Any
) -> tuple[Folds, Selection]:
    sampling = Sampling(split=split, folds=folds, seed=1, **{"valid_share": 0.2} | options)
    file = open_parquet(raw)
    (selection,) = draw(file, "y", rows, sampling, [0, file.rows])
    is_train = selection.part == TRAIN
    return draw_folds(file, "y", sampling, selection.row[is_train]), selection


SPLITS = {
    "random": Split(),
    "time": Split(time="day"),
    "group": Split(group="user"),
    "time and group": Split(time="day", group="user"),
}


@pytest.mark.parametrize("kind", SPLITS)
def test_no_fold_is_predicted_by_what_its_split_forbids(
    kind: str, users: tuple[Path, dict[str, np.ndarray]]
) -> None:
    raw, columns = users
    folds, _ = folds_of(raw, SPLITS[kind])
    day, user = (columns[name][folds.row] for name in ("day", "user"))
    times_predicted = np.zeros(len(folds.row), int)
    sizes = []
    for fold in range(1, 5):
        trains, predicts = folds.trains(fold), folds.predicts(fold)
        times_predicted += predicts
        sizes.append(int(predicts.sum()))
        assert not (trains & predicts).any()
        assert set(columns["y"][folds.row[predicts]]) == {0, 1}
        if "time" in kind:
            assert day[trains].max() < day[predicts].min()
        else:
            assert (trains | predicts).all()
        if "group" in kind:
            assert not set(user[trains]) & set(user[predicts])
    assert np.array_equal(times_predicted, folds.is_predicted)
    assert max(sizes) < (1.3 if kind != "time and group" else 3) * min(sizes)
    if kind == "time":
        # All but the oldest fifth.
        assert np.array_equal(folds.is_predicted, day >= day[folds.is_predicted].min())
        assert folds.is_predicted.mean() == pytest.approx(0.8, abs=0.05)
    elif kind == "time and group":
        oldest = {u: day[user == u].min() for u in set(user)}
        start = {fold: day[folds.fold == fold].min() for fold in range(1, 5)}
        expected = [
            f > 0 and oldest[u] >= start[f] for f, u in zip(folds.fold.tolist(), user.tolist())
        ]
        assert folds.is_predicted.tolist() == expected
    else:
        assert folds.is_predicted.all()


def test_random_folds_have_the_same_clicks(users: tuple[Path, dict[str, np.ndarray]]) -> None:
    raw, columns = users
    folds, _ = folds_of(raw, Split(), rows=301)
    clicks = [columns["y"][folds.row[folds.predicts(fold)]].sum() for fold in range(1, 5)]
    assert max(clicks) - min(clicks) <= 1
    again, _ = folds_of(raw, Split(), rows=301)
    assert np.array_equal(folds.fold, again.fold)


@pytest.mark.parametrize("kind", ["time", "group", "time and group"])
def test_a_row_is_in_the_same_fold_of_each_size(
    kind: str, users: tuple[Path, dict[str, np.ndarray]]
) -> None:
    full, _ = folds_of(users[0], SPLITS[kind])
    small, _ = folds_of(users[0], SPLITS[kind], rows=200)
    assert 100 < len(small.row) < 200
    of_row = dict(zip(full.row.tolist(), zip(full.fold.tolist(), full.is_predicted.tolist())))
    found = zip(small.fold.tolist(), small.is_predicted.tolist())
    assert [of_row[row] for row in small.row.tolist()] == list(found)


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        (Split(group="few"), {}, r"'few' has 2 values in the train rows, and sampling.folds: 4 ne"),
        (
            Split(time="few"),
            {},
            r"'few' has 2 values .* needs 5, .*the oldest is not predicted; us",
        ),
        (Split(time="day"), {}, r"folds: 4 leaves fold 3, where 9 rows are predicted \(0 clicks\)"),
        (Split(), {"rows": 12}, r"folds: 4 leaves fold \d, where . rows are predicted \(0 clicks"),
    ],
    ids=["few groups", "few times", "a fold without a click", "few clicks"],
)
def test_folds_that_cannot_be_are_refused_with_what_there_is(
    split: Split, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    day = np.repeat(np.arange(6), 9)
    y = np.where(day == 3, 0, np.arange(54) % 3 == 0).astype(np.int8)
    raw = write_raw(tmp_path, pa.table({"y": y, "day": day, "few": day // 2}))
    with pytest.raises(UserError, match=message):
        folds_of(raw, split, **{"valid_share": 0.1} | options)


@pytest.fixture(scope="module")
def folded(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three folds of the rows of `data`, and a second one with labels changed there."""
    folder = tmp_path_factory.mktemp("folded")
    sampling = Sampling(folds=3, seed=1)
    with H5Table(data / "train.h5") as train:
        row = train.column("row")
    folds = draw_folds(open_parquet(data / "train.parquet"), "clicked", sampling, row)
    folds.write(folder / "folds.parquet")
    shutil.copy(data / "train.h5", folder / "train.h5")
    with h5py.File(folder / "train.h5", "r+") as file:
        predicted = np.flatnonzero(folds.predicts(2))
        file["label"][:] = np.where(folds.predicts(2), 1 - file["label"][:], file["label"][:])
        assert len(predicted) == 300
    return folder


def test_rows_of_a_fold_read_as_those_of_the_whole_file(
    data: Path, folded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds_module, "_READ_ROWS", 40)
    folds = Folds.read(folded / "folds.parquet")
    for training in (False, True):
        chosen = folds.trains(2) if training else folds.predicts(2)
        rows = FoldRows(data / "train.h5", folded / "folds.parquet", 2, training)
        with H5Table(data / "train.h5") as whole, rows.open() as table:
            assert table.rows == chosen.sum()
            expected = whole.read(0, whole.rows).take(np.flatnonzero(chosen))
            name = table.sequence_columns[0]
            for start, stop in ((0, 0), (5, 6), (7, 290), (0, table.rows)):
                part = table.read(start, stop)
                for field in ("row", "label", "numeric", "categorical"):
                    wanted = getattr(expected, field)[start:stop]
                    np.testing.assert_array_equal(getattr(part, field), wanted)
                assert (
                    as_lists(part.sequences[name])
                    == (as_lists(expected.sequences[name])[start:stop])
                )
                assert table.column("row", start, stop).tolist() == part.row.tolist()
            assert table.lengths(name).tolist() == expected.sequences[name].lengths.tolist()


def test_folds_of_other_rows_are_refused(data: Path, folded: Path) -> None:
    with pytest.raises(UserError, match=r"folds.parquet and .*valid.h5 were not made from"):
        FoldRows(data / "valid.h5", folded / "folds.parquet", 1).open()


# Train file, folder of `data`, folder of the folds, number of the fold: the file of predictions.
Predict = Callable[[Path, Path, Path, int], Path]


def outputs_in(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in ("model", "history", "training")}


def predict_by_feseq(train: Path, data: Path, folder: Path, fold: int) -> Path:
    out, folds = folder / train.parent.name / f"fold{fold}", folder / "folds.parquet"
    files = (data / "valid.h5", data / "feature_map.json", SMALL_MODEL, TRAINING)
    first = outputs_in(folder / "first")
    train_model(TrainingRun(data / "train.h5", *files), first, runtime=RUNTIME)
    name = f"toy/len10/fold{fold}"
    run = TrainingRun(train, *files, first["training"], name, folds, fold)
    train_model(run, outputs_in(out), runtime=RUNTIME)
    written = [out / name for name in ("predictions", "speed", "attention")]
    rows = FoldRows(train, folds, fold)
    predict_validation(out / "model", rows, *written, machine=CPU, full_name=name)
    return written[0]


def predict_by_boosting(train: Path, data: Path, folder: Path, fold: int) -> Path:
    out, folds = folder / train.parent.name / f"fold{fold}", folder / "folds.parquet"
    files = (data / "valid.h5", data / "feature_map.json")
    files += (BoostingConfig(trees=4, min_child_weight=1),)
    first = outputs_in(folder / "first")
    train_boosting(data / "train.h5", *files, first, runtime=RUNTIME)
    name = f"toy/boosting/fold{fold}"
    options: dict[str, Any] = {"followed": first["training"], "folds": folds, "fold": fold}
    train_boosting(train, *files, outputs_in(out), runtime=RUNTIME, full_name=name, **options)
    written = [out / name for name in ("predictions", "speed")]
    rows = FoldRows(train, folds, fold)
    boosted.predict_validation(out / "model", rows, *written, threads=1, full_name=name)
    return written[0]


@pytest.mark.workflow
@pytest.mark.parametrize("predict", [predict_by_feseq, predict_by_boosting])
def test_predictions_know_nothing_of_their_own_labels(
    predict: Predict, data: Path, folded: Path, tmp_path: Path
) -> None:
    shutil.copy(folded / "folds.parquet", tmp_path)
    found = {}
    for fold in (2, 1):
        for train in (data / "train.h5", folded / "train.h5"):
            path = predict(train, data, tmp_path, fold)
            found[fold, train.parent] = pq.read_table(path)["logit"].to_numpy()
    # The labels of fold 2 are other ones in the second file.
    np.testing.assert_array_equal(found[2, data], found[2, folded])
    assert not np.array_equal(found[1, data], found[1, folded])


def test_all_folds_join_in_the_order_of_the_file_and_are_measured(
    data: Path, folded: Path, tmp_path: Path
) -> None:
    folds = Path(shutil.copy(folded / "folds.parquet", tmp_path))
    train, name = data / "train.h5", "toy/boosting"
    parts = [predict_by_boosting(train, data, tmp_path, fold) for fold in (1, 2, 3)]
    joined = tmp_path / "oof_predictions.parquet"
    join_folds(folds, parts, joined, name)
    table = pq.read_table(joined)
    with H5Table(train) as h5:
        for column in ("row", "label"):
            assert table[column].to_numpy().tolist() == h5.column(column).tolist()
    for fold, part in enumerate(parts, 1):
        logit = table["logit"].to_numpy()[table["fold"].to_numpy() == fold]
        assert logit.tolist() == read_predictions(part)["logit"].to_pylist()
    keys: dict[str, Any] = {"resamples": 0, "gauc": None, "full_name": name}
    truth = data / "train_truth.parquet"
    figures = measure_predictions(joined, FoldRows(train, folds), truth, **keys)
    assert (figures["rows"], figures["unseen"]) == (900, True)
    assert figures["clicks"] == table["label"].to_numpy().sum()
    assert sum(part["rows"] for part in figures["slices"]["history_length"]) == 900
    with pytest.raises(UserError, match="made for toy/boosting/fold2, and lies in the place"):
        join_folds(folds, parts[1:], joined, name)
    with pytest.raises(UserError, match="has other rows than fold 1 of"):
        join_folds(folds, parts[1:], joined)
