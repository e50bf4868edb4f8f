"""The submission: joined by ID, checked, whole or not at all."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from feseq.common.errors import UserError
from feseq.common.files import fingerprint
from feseq.common.ids import IdTables
from feseq.common.parquet import write_table
from feseq.predict.sample_check import check_sample
from feseq.predict.submission import write_submission
from feseq.raw.parts import Listing, Part

IDS = [f"U{i:03d}" for i in range(10)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


def submit(
    folder: Path,
    ids: Sequence[str],
    sample: Sequence[str] | None = None,
    *,
    logit: Sequence[float] | None = None,
    parts: int = 3,
    sample_text: str | None = None,
) -> pd.DataFrame:
    """Write predictions in parts and a sample, submit, and read the CSV as a participant would."""
    values = np.linspace(-4, 4, len(ids)) if logit is None else np.array(logit)
    files = []
    for i, rows in enumerate(np.array_split(np.arange(len(ids)), parts)):
        files.append(folder / f"{i}.parquet")
        part = {
            "id": pa.array([ids[row] for row in rows], pa.string()),
            "logit": values[rows].astype(np.float32),
        }
        pq.write_table(pa.table(part), files[-1])
    sample_file = None
    if sample is not None or sample_text is not None:
        sample_file = folder / "sample_submission.csv"
        if sample is not None:
            pd.DataFrame({"uid": sample, "y": 0}).to_csv(sample_file, index=False)
        else:
            sample_file.write_text(str(sample_text))
    submission = folder / "out" / "submission.csv"
    write_submission(files, sample_file, submission, id_column="uid", label_column="y")
    return pd.read_csv(submission, dtype={"uid": str}, keep_default_na=False)


def refused(folder: Path, *arguments: Any, **options: Any) -> str:
    """The message of a refusal that left nothing behind."""
    with pytest.raises(UserError) as refusal:
        submit(folder, *arguments, **options)
    assert os.listdir(folder / "out") == []
    return str(refusal.value)


def test_rows_follow_the_sample_and_values_follow_their_ids(folder: Path) -> None:
    order = [3, 0, 9, 1, 8, 2, 7, 5, 4, 6]
    logit = np.arange(10) / 2 - 3
    written = submit(folder, IDS, [IDS[i] for i in order], logit=logit)
    assert written.columns.tolist() == ["uid", "y"]
    assert written["uid"].tolist() == [IDS[i] for i in order]
    assert written["y"].to_numpy() == pytest.approx(expit(logit[order]))


def test_without_a_sample_rows_follow_the_test_file(folder: Path) -> None:
    written = submit(folder, IDS[::-1])
    assert written["uid"].tolist() == IDS[::-1]
    assert written["y"].is_monotonic_increasing
    assert (folder / "out" / "submission.csv").read_text().startswith("uid,y\nU009,0.0179")


@pytest.mark.parametrize(
    ("ids", "sample", "parts"),
    [
        (IDS[2:], IDS, ["2 of its IDs are not predicted, such as 'U000'", "10 IDs", "8 pred"]),
        (IDS, IDS[:-3], ["3 predicted IDs are not in it, such as 'U007'"]),
        (
            ["X1", *IDS[2:]],
            IDS,
            ["2 of its IDs", "'U000'", "1 predicted IDs are not in it, such as 'X1'"],
        ),
        ([*IDS, "U003", "U004", "U003"], IDS, ["the predictions: 2 IDs occur more", "'U003'"]),
        ([*IDS, "U003"], None, ["the predictions: 1 IDs occur more", "'U003'"]),
        (IDS, [*IDS, "U005"], ["sample_submission.csv: 1 IDs occur more", "'U005'"]),
        (IDS, [*IDS[:9], "U000"], ["1 IDs occur more", "'U000'"]),
        (
            IDS,
            [*IDS[:9], " U009"],
            ["are not predicted, such as ' U009'", "not in it, such as 'U009'"],
        ),
        (IDS, [*IDS[:9], ""], ["are not predicted, such as ''"]),
    ],
    ids=["missing", "extra", "both", "duplicates", "no sample", "in sample", "swap", "space", "''"],
)
def test_ids_that_do_not_match_stop_with_count_and_example(
    folder: Path, ids: list[str], sample: list[str] | None, parts: list[str]
) -> None:
    message = refused(folder, ids, sample)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused_with_its_id(folder: Path, value: float) -> None:
    values = np.full(10, 0.5)
    values[[4, 7]] = value
    message = refused(folder, IDS, IDS, logit=values)
    assert message.startswith("2 predictions are not finite")
    assert "'U004'" in message


def test_logits_of_any_size_give_probabilities(folder: Path) -> None:
    written = submit(folder, IDS[:5], IDS[:5], logit=[-3e38, 3e38, -69.0, -16.0, 0.0])["y"]
    assert written.tolist() == pytest.approx([0, 1, 1.08e-30, 1.13e-7, 0.5], rel=0.01)
    assert written.between(0, 1).all()


def parts_of(folder: Path, name: str, logit: Sequence[float], **marks: str) -> list[Path]:
    """A model file, of any content, and its predictions of `IDS` in two parts."""
    (folder / name).mkdir()
    (folder / name / "model.safetensors").write_bytes(name.encode())
    paths = []
    for start, stop in ((0, 4), (4, 10)):
        given = {"part": f"version of {start}", "test": f"t{start}"}
        given |= {"click_rate": "0.02", "code": "a@1 b@2"}
        given |= {"model": fingerprint(folder / name / "model.safetensors"), **marks}
        table = pa.table({"id": IDS[start:stop], "logit": np.float32(logit[start:stop])})
        paths.append(folder / name / f"part{start}.parquet")
        write_table(table, paths[-1], given)
    return paths


LISTING = Listing(
    "new.parquet", 10, [Part(f"version of {i}", n, {}, []) for i, n in ((0, 4), (4, 6))]
)


def mixed(folder: Path, *parts: list[Path], **options: Any) -> pd.Series:
    """Submit the predictions of several models; what the CSV says by ID."""
    submission = folder / "out" / "submission.csv"
    write_submission(
        [path for paths in parts for path in paths],
        None,
        submission,
        id_column="uid",
        label_column="y",
        models=[paths[0].with_name("model.safetensors") for paths in parts],
        **options,
    )
    return pd.read_csv(submission, index_col="uid")["y"]


def test_of_several_models_the_mean_of_the_logits_counts_by_weight(folder: Path) -> None:
    a, b = np.linspace(-3, 1, 10), np.linspace(2, -5, 10)
    of_a, of_b = parts_of(folder, "a", a), parts_of(folder, "b", b)
    written = mixed(folder, of_a, of_b, weights=[3, 1])
    assert written.index.tolist() == IDS
    assert written.tolist() == pytest.approx(expit((3 * a + b) / 4).tolist())
    assert mixed(folder, of_a, weights=[5]).tolist() == pytest.approx(expit(a).tolist())


def test_balanced_probabilities_are_those_of_a_click_rate_of_one_half(folder: Path) -> None:
    probability = np.linspace(0.001, 0.3, 10)
    parts = parts_of(folder, "a", np.log(probability / (1 - probability)))
    # Bayes: clicks weigh 1 / 0.02 and the others 1 / 0.98.
    click, other = probability / 0.02, (1 - probability) / 0.98
    written = mixed(folder, parts, prior="balanced")
    assert written.tolist() == pytest.approx((click / (click + other)).tolist(), rel=1e-5)
    assert mixed(folder, parts).tolist() == pytest.approx(probability.tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "not predicted by"),
        ({"test": "u"}, "another test table"),
        ({"part": "version of 4"}, "part0.parquet: not predicted for this part of the test table"),
        ({"click_rate": "0.03"}, "trained on rows of different click rates"),
        (
            {"code": "a@1 b@3"},
            "b/part0.parquet: not predicted by the code as it is now; delete it",
        ),
    ],
)
def test_models_whose_predictions_do_not_go_together_are_refused(
    folder: Path, change: dict[str, str], message: str
) -> None:
    of_a = parts_of(folder, "a", np.zeros(10))
    of_b = parts_of(folder, "b", np.ones(10), **change)
    options = {"listing": LISTING, "prior": "balanced", "codes": [["a@1", "b@2"]] * 2}
    with pytest.raises(UserError, match=message):
        mixed(folder, of_a, of_b, weights=[1, 1], **options)
    assert os.listdir(folder / "out") == []


def test_predictions_in_the_place_of_another_model_are_refused(folder: Path) -> None:
    of_a = parts_of(folder, "a", np.zeros(10), full_name="toy/a")
    assert len(mixed(folder, of_a, size="toy")) == 10
    (folder / "out" / "submission.csv").unlink()
    # With its model, whose fingerprint they name.
    shutil.copytree(folder / "a", folder / "b")
    of_b = [folder / "b" / path.name for path in of_a]
    for paths, size, place in ((of_a, "full", "full/a"), (of_b, "toy", "toy/b")):
        with pytest.raises(UserError, match=rf"made for toy/a, .* place of {place}; delete"):
            mixed(folder, paths, size=size)
    assert os.listdir(folder / "out") == []


def test_a_submission_says_what_it_was_made_from(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    marks = {"simulated": "true", "test_file": "new and 3 more", "full_name": "toy/a"}
    of_a = parts_of(folder, "a", np.zeros(10), **marks)
    mixed(folder, of_a, about=folder / "about.json", listing=LISTING)
    assert json.loads((folder / "about.json").read_text()) == {
        "simulated_data": True,
        "test_file": "new.parquet",
        "models": ["toy/a"],
        "sample_submission": None,
        "weights": [1.0],
        "prior": "observed",
        "rows": 10,
    }
    assert "10 rows of new.parquet by toy/a, from SIMULATED data" in caplog.text
    assert (folder / "out" / "submission.csv").read_text().startswith("uid,y\n")


def test_models_of_different_numbers_of_parts_are_refused(folder: Path) -> None:
    of_a, of_b = parts_of(folder, "a", np.zeros(10)), parts_of(folder, "b", np.ones(10))
    with pytest.raises(UserError, match="3 files of predictions for 2 models"):
        mixed(folder, of_a, of_b[:1], weights=[1, 1])


def test_a_part_that_is_not_predicted_is_missed(folder: Path) -> None:
    first, second = parts_of(folder, "a", np.zeros(10))
    assert len(mixed(folder, [first, second], listing=LISTING)) == 10
    (folder / "out" / "submission.csv").unlink()
    for paths, message in (
        ([first], "1 of the 2 parts of new.parquet are predicted"),
        ([second, first], "part4.parquet: not predicted for this part of the test table"),
    ):
        with pytest.raises(UserError, match=message):
            mixed(folder, paths, listing=LISTING)
    assert os.listdir(folder / "out") == []


def test_a_sample_is_compared_with_the_test_file_before_anything_is_predicted(
    folder: Path,
) -> None:
    test, sample, checked = (
        folder / name for name in ("test.parquet", "s.csv", "out/checked.json")
    )
    # A pandas column of integers with a gap, as floats.
    pq.write_table(pa.table({"uid": [3.0, 1.0, 2.0]}), test)
    sample.write_text("uid,y\n1,0\n2,0\n3,0\n")
    check_sample(test, sample, "uid", checked)
    assert json.loads(checked.read_text()) == {"ids": 3}
    checked.unlink()
    sample.write_text("uid,y\n1,0\n9,0\n")
    with pytest.raises(UserError) as refused:
        check_sample(test, sample, "uid", checked)
    assert "1 of its IDs are not in the test file, such as '9'" in str(refused.value)
    assert "2 IDs of the test file are not in it, such as '3' (2 IDs in it, 3 in the test" in str(
        refused.value
    )
    assert not checked.exists()


def test_a_test_file_without_rows_is_refused_with_a_sample(folder: Path) -> None:
    pq.write_table(pa.table({"uid": pa.array([], pa.string())}), folder / "test.parquet")
    (folder / "s.csv").write_text("uid,y\n1,0\n")
    with pytest.raises(UserError, match=r"test\.parquet: the file has no rows"):
        check_sample(folder / "test.parquet", folder / "s.csv", "uid", folder / "out/checked.json")


def test_a_full_disk_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*_: object) -> None:
        raise duckdb.IOException("Could not write file: No space left on device")

    monkeypatch.setattr(IdTables, "add", add)
    assert "No space left on device); is the disk full?" in refused(folder, IDS)


AWKWARD = ["a,b", 'say "x"', "0007", "7", "1e5", "NA", "", "아이디", " pad ", "l1\nl2", "null"]


def test_awkward_ids_survive_the_way_through_pandas(folder: Path) -> None:
    written = submit(folder, AWKWARD, AWKWARD[::-1])
    assert written["uid"].tolist() == AWKWARD[::-1]
    assert submit(folder, AWKWARD)["uid"].tolist() == AWKWARD


def test_plain_ids_are_not_quoted(folder: Path) -> None:
    submit(folder, IDS, IDS)
    assert '"' not in (folder / "out" / "submission.csv").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffuid,y\nU000,0\nU001,0\nU002,0\n",
        "uid,y\r\nU000,0\r\nU001,0\r\nU002,0\r\n",
        '"uid","y"\n"U000",0\n"U001",0\n"U002",0\n',
        "y,uid\n0,U000\n0,U001\n0,U002",
        "uid\nU000\nU001\nU002\n",
    ],
    ids=["byte order mark", "Windows", "quoted", "turned", "IDs alone"],
)
def test_sample_files_of_any_make_are_read(folder: Path, text: str) -> None:
    assert submit(folder, IDS[:3], sample_text=text)["uid"].tolist() == IDS[:3]


@pytest.mark.parametrize(
    ("header", "label"),
    [("uid,probability", "probability"), ("y,uid,odds", "y"), ("uid", "y"), ("odds,uid", "odds")],
)
def test_the_label_is_named_as_in_the_sample(folder: Path, header: str, label: str) -> None:
    names = header.split(",")
    lines = [",".join("U000" if name == "uid" else "0" for name in names)]
    written = submit(folder, IDS[:1], sample_text="\n".join([header, *lines]))
    assert written.columns.tolist() == ["uid", label]


def test_a_sample_of_several_labels_is_refused(folder: Path) -> None:
    message = refused(folder, IDS[:1], sample_text="uid,yes,no\nU000,0,0\n")
    assert "header 'uid,yes,no' has 2 columns beside 'uid', and none is 'y'" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its header '' has no column 'uid'"),
        ("ID,y\nU000,0\n", "its header 'ID,y' has no column 'uid'"),
        ("uid;y\nU000;0\n", "its header 'uid;y' has no column 'uid'"),
        ("uid,y\nU000,0\nU001,0,0\n", "cannot be read"),
        ("uid,y\n", "10 predicted IDs are not in it, such as 'U000'"),
    ],
    ids=["empty", "other name", "semicolons", "ragged", "header alone"],
)
def test_an_unusable_sample_is_refused(folder: Path, text: str, message: str) -> None:
    found = refused(folder, IDS, sample_text=text)
    assert message in found
    assert "sample_submission.csv" in found
