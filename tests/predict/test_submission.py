"""The submission: joined by ID, checked, whole or not at all."""

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
from feseq.common.files import fingerprint, read_json, write_json
from feseq.common.ids import IdTables
from feseq.common.logits import checked_weights
from feseq.common.parquet import write_table
from feseq.predict.sample import check_sample
from feseq.predict.submission import join_predictions, write_submission
from feseq.raw.parts import Listing, Part

IDS = [f"U{i:03d}" for i in range(10)]
NAMES = {"id_column": "uid", "label_column": "y"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


def submit(
    folder: Path, ids: Sequence[str], sample: Sequence[str] | str | None = None, logit: Any = None
) -> pd.DataFrame:
    """Write predictions in parts and a sample, join, and read the CSV as a participant would."""
    values = np.float32(np.linspace(-4, 4, len(ids)) if logit is None else logit)
    files = [folder / f"{i}.parquet" for i in range(3)]
    for file, rows in zip(files, np.array_split(np.arange(len(ids)), 3)):
        id_ = pa.array([ids[row] for row in rows], pa.string())
        write_table(pa.table({"id": id_, "logit": values[rows]}), file)
    sample_file = None if sample is None else folder / "sample_submission.csv"
    if sample_file:
        text = sample if isinstance(sample, str) else "".join(f"{i},0\n" for i in ["uid", *sample])
        sample_file.write_text(text.replace("uid,0", "uid,y"))
    written = folder / "out" / "submission.csv"
    join_predictions([files], [1.0], written, sample_submission=sample_file, **NAMES)
    return pd.read_csv(written, dtype={"uid": str}, keep_default_na=False)


def refused(folder: Path, *arguments: Any, **options: Any) -> str:
    """The message of a refusal that left nothing behind."""
    with pytest.raises(UserError) as refusal:
        submit(folder, *arguments, **options)
    assert os.listdir(folder / "out") == []
    return str(refusal.value)


NOT_FINITE = [0.5] * 4 + [float("nan"), 0.5, 0.5, float("-inf"), 0.5, 0.5]


@pytest.mark.parametrize(
    ("ids", "sample", "logit", "said"),
    [
        (IDS[2:], IDS, None, ["2 of its IDs", "'U000'", "10 IDs", "8 predicted"]),
        (["X1", *IDS[2:]], IDS, None, ["2 of its IDs", "'U000'", "1 IDs predicted", "'X1'"]),
        ([*IDS, "U003", "U004", "U003"], IDS, None, ["2 IDs", "'U003'"]),
        ([*IDS, "U003"], None, None, ["1 IDs", "'U003'"]),
        (IDS, [*IDS, "U005"], None, ["sample_submission.csv", "1 IDs", "'U005'"]),
        (IDS, [*IDS[:9], " U009"], None, ["' U009'", "'U009'"]),
        (IDS, "", None, ["sample_submission.csv", "'uid'"]),
        (IDS, "uid;y\nU000;0\n", None, ["sample_submission.csv", "'uid;y'"]),
        (IDS, "uid,y\nU000,0\nU001,0,0\n", None, ["sample_submission.csv"]),
        (IDS, "uid,y\n", None, ["10 IDs predicted", "'U000'"]),
        (IDS[:1], "uid,yes,no\nU000,0,0\n", None, ["'uid,yes,no'", "'y'"]),
        (IDS, IDS, NOT_FINITE, ["2 predictions", "'U004'"]),
    ],
)
def test_a_wrong_sample_ids_or_logits_stop_with_count_and_example(
    folder: Path, ids: list[str], sample: list[str] | str | None, logit: Any, said: list[str]
) -> None:
    message = refused(folder, ids, sample, logit)
    assert [part for part in said if part not in message] == []


def test_logits_of_any_size_give_probabilities(folder: Path) -> None:
    written = submit(folder, IDS[:5], IDS[:5], [-3e38, 3e38, -69.0, -16.0, 0.0])["y"]
    assert written.tolist() == pytest.approx([0, 1, 1.08e-30, 1.13e-7, 0.5], rel=0.01)
    assert written.between(0, 1).all()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("\ufeffuid,y\nU000,0\nU001,0\nU002,0\n", "y"),
        ("uid,probability\r\nU000,0\r\nU001,0\r\nU002,0\r\n", "probability"),
        ("odds,uid\n0,U000\n0,U001\n0,U002", "odds"),
        ("y,uid,odds\n0,U000,0\n0,U001,0\n0,U002,0\n", "y"),
        ("uid\nU000\nU001\nU002\n", "y"),
    ],
    ids=["byte order mark", "Windows", "turned", "two labels", "IDs alone"],
)
def test_sample_files_of_any_make_are_read_and_name_the_label(
    folder: Path, text: str, label: str
) -> None:
    written = submit(folder, IDS[:3], text)
    assert written["uid"].tolist() == IDS[:3]
    assert written.columns.tolist() == ["uid", label]
    assert '"' not in (folder / "out" / "submission.csv").read_text()


LISTING = Listing(
    "new.parquet", 10, [Part(f"version of {i}", n, {}, []) for i, n in ((0, 4), (4, 6))]
)


def parts_of(folder: Path, name: str, logit: Sequence[float], **metadata: str) -> list[Path]:
    """A model file, of any content, and its predictions of `IDS` in two parts."""
    model = folder / name / "model.safetensors"
    model.parent.mkdir()
    model.write_bytes(name.encode())
    paths = []
    for start, stop in ((0, 4), (4, 10)):
        given = {"part": f"version of {start}", "model": fingerprint(model), "click_rate": "0.02"}
        given |= {"full_name": f"toy/{name}", "simulated": "true", "code": "a@1 b@2"} | metadata
        table = pa.table({"id": IDS[start:stop], "logit": np.float32(logit[start:stop])})
        paths.append(model.with_name(f"part{start}.parquet"))
        write_table(table, paths[-1], given)
    return paths


def blended(folder: Path, *parts: list[Path], **options: Any) -> pd.Series:
    """Submit the predictions of several models; what the CSV says by ID."""
    submission = folder / "out" / "submission.csv"
    models = [paths[0].with_name("model.safetensors") for paths in parts]
    files = [path for paths in parts for path in paths]
    write_json(folder / "parts.json", LISTING.as_json())
    options = {"size": "toy"} | options
    options = {"codes": {model.parent.name: ["a@1", "b@2"] for model in models}} | options
    about = folder / "out" / "about.json"
    options = NAMES | options
    write_submission(files, folder / "parts.json", models, submission, about, **options)
    return pd.read_csv(submission, index_col="uid")["y"]


def test_a_blend_is_the_weighted_mean_of_the_logits(folder: Path) -> None:
    a, b = np.linspace(-3, 1, 10), np.linspace(2, -5, 10)
    of_a, of_b = parts_of(folder, "a", a), parts_of(folder, "b", b)
    written = blended(folder, of_a, of_b, weights={"a": 3, "b": 1})
    assert written.index.tolist() == IDS
    assert written.tolist() == pytest.approx(expit((3 * a + b) / 4).tolist())
    equal = blended(folder, of_a, of_b, weights=None)
    assert equal.tolist() == pytest.approx(expit((a + b) / 2).tolist())
    for weights in ({"a": 0, "b": 0}, {"a": -1, "b": 2}, {"a": float("nan"), "b": 1}):
        with pytest.raises(UserError, match="weights"):
            blended(folder, of_a, of_b, weights=weights)
    with pytest.raises(UserError, match="'uid'"):
        blended(folder, of_b, label_column="uid")
    with pytest.raises(UserError, match="weights of"):  # two models of one name
        checked_weights({"a": 0.9, "b": 0.1}, ["a", "b", "b"])
    for of_others in ({}, {"a": 1.0}, {"a": 0.5, "b": 0.5}):
        write_json(folder / "fitted.json", of_others)
        for option in ({"weights": of_others}, {"fitted": folder / "fitted.json"}):
            with pytest.raises(UserError, match="weights of"):
                blended(folder, of_b, **option)
    with pytest.raises(UserError, match=r"fitted\.json.* one of them"):
        blended(folder, of_b, weights={"b": 1}, fitted=folder / "fitted.json")
    write_json(folder / "fitted.json", {"b": 0.5})
    assert blended(folder, of_b, fitted=folder / "fitted.json").tolist() == pytest.approx(expit(b))


def test_balanced_probabilities_are_those_of_a_click_rate_of_one_half(folder: Path) -> None:
    probability = np.linspace(0.001, 0.3, 10)
    parts = parts_of(folder, "a", np.log(probability / (1 - probability)))
    # Bayes: clicks weigh 1 / 0.02 and the others 1 / 0.98.
    click, other = probability / 0.02, (1 - probability) / 0.98
    written = blended(folder, parts, prior="balanced")
    assert written.tolist() == pytest.approx((click / (click + other)).tolist(), rel=1e-5)
    assert blended(folder, parts).tolist() == pytest.approx(probability.tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "other"}, "b/part0.parquet: "),
        ({"part": "version of 4"}, "b/part0.parquet: .* this part"),
        ({"click_rate": "0.03"}, "different click rates"),
        ({"code": "a@1 b@3"}, "b/part0.parquet: .* code"),
        ({"full_name": "toy/c"}, "b/part0.parquet: .* toy/c"),
        ({"full_name": "full/b"}, "b/part0.parquet: .* full/b"),
    ],
)
def test_models_whose_predictions_do_not_go_together_are_refused(
    folder: Path, change: dict[str, str], said: str
) -> None:
    of_a = parts_of(folder, "a", np.zeros(10))
    assert len(blended(folder, of_a, parts_of(folder, "c", np.zeros(10)), prior="balanced")) == 10
    shutil.rmtree(folder / "out")
    with pytest.raises(UserError, match=said):
        blended(folder, of_a, parts_of(folder, "b", np.ones(10), **change), prior="balanced")
    assert not (folder / "out").exists()


def test_every_part_must_be_predicted_by_every_model_once_and_in_order(folder: Path) -> None:
    first, second = parts_of(folder, "a", np.zeros(10))
    of_b = parts_of(folder, "b", np.ones(10))
    for parts in ([[first]], [[second, first]], [[first, second], of_b[:1]]):
        with pytest.raises(UserError, match=r"2 parts|part4\.parquet"):
            blended(folder, *parts)
    assert os.listdir(folder / "out") == []


def test_a_submission_says_what_it_was_made_from(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    blended(folder, parts_of(folder, "a", np.zeros(10)))
    assert read_json(folder / "out/about.json") == {
        "simulated_data": True,
        "test_file": "new.parquet",
        "models": ["toy/a"],
        "sample_submission": None,
        "weights": [1.0],
        "prior": "observed",
        "rows": 10,
    }
    assert "10 rows of new.parquet by toy/a, from SIMULATED data" in caplog.text


def test_a_sample_is_compared_with_the_test_file_before_anything_is_trained(folder: Path) -> None:
    test, sample, checked = folder / "test.parquet", folder / "s.csv", folder / "out/checked.json"
    # A pandas column of integers with a gap, as floats.
    pq.write_table(pa.table({"uid": [3.0, 1.0, 2.0]}), test)
    sample.write_text("uid,y\n1,0\n2,0\n3,0\n")
    check_sample([str(test)], str(sample), "uid", checked)
    assert read_json(checked) == {"ids": 3}
    checked.unlink()
    sample.write_text("uid,y\n1,0\n9,0\n")
    with pytest.raises(UserError, match=r"1 of its IDs .*'9' and 2 IDs .*'3'"):
        check_sample([str(test)], str(sample), "uid", checked)
    pq.write_table(pa.table({"uid": pa.array([], pa.string())}), test)
    with pytest.raises(UserError, match=r"test\.parquet: the file has no rows"):
        check_sample([str(test)], str(sample), "uid", checked)
    assert not checked.exists()


def test_a_full_disk_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*_: object) -> None:
        raise duckdb.IOException("Could not write file: No space left on device")

    monkeypatch.setattr(IdTables, "add", add)
    assert "No space left on device" in refused(folder, IDS)
