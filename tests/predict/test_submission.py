"""The submission: any IDs in any order, joined, checked, whole or not at all."""

import csv
import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from support.raw_tables import COLUMNS, raw_table, write_raw
from tossctr.common.errors import UserError
from tossctr.common.files import fingerprint, read_json, write_json
from tossctr.common.parquet import write_table
from tossctr.predict.submission import join_predictions, write_submission
from tossctr.raw.parts import Part, PartList, read_part_list
from tossctr.raw.submission_ids import list_parts

IDS = [f"U{i:03d}" for i in range(10)]
NAMES = {"id_column": "the ID", "label_column": "y"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


def submit(
    folder: Path,
    ids: Sequence[str],
    sample: Sequence[str] | str | None = None,
    logit: Any = None,
    cuts: Sequence[int] = (3, 6),
) -> pd.DataFrame:
    """Write predictions in parts that end at `cuts`, and a sample; join, and read the CSV."""
    values = np.float32(np.linspace(-4, 4, len(ids)) if logit is None else logit)
    files = []
    for start, stop in pairwise([0, *sorted(cuts), len(ids)]):
        part = {"id": pa.array(ids[start:stop], pa.string()), "logit": values[start:stop]}
        files.append(folder / f"{len(files)}.parquet")
        write_table(pa.table(part), files[-1])
    sample_file = None if sample is None else folder / "sample_submission.csv"
    if sample_file:
        lines = ["the ID,y", *(f"{name},0" for name in sample), ""]
        text = sample if isinstance(sample, str) else "\n".join(lines)
        sample_file.write_bytes(text.encode())
    written = folder / "out" / "submission.csv"
    join_predictions([files], [1.0], written, sample_submission=sample_file, **NAMES)
    with open(written, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    return pd.DataFrame(rows, columns=header).astype({header[1]: float})


@pytest.mark.parametrize(
    ("ids", "sample", "said"),
    [
        (["X1", *IDS[2:]], IDS, ["only in the sample: 2, such as 'U000'", "not in the sample: 1"]),
        ([*IDS, "U003", "U004", "U003"], IDS, ["more than once: 2", "'U003'"]),
        (IDS, [*IDS, "U005"], ["sample_submission.csv", "once: 1", "'U005'"]),
        (IDS, "", ["sample_submission.csv"]),
        (IDS, "the ID,y\nU000,0\nU001,0,0\n", ["sample_submission.csv"]),
        (IDS[:1], "the ID,yes,no\nU000,0,0\n", ["'the ID,yes,no'", "'y'"]),
    ],
)
def test_a_wrong_sample_or_ids_stop_with_count_and_example(
    folder: Path, ids: list[str], sample: list[str] | str | None, said: list[str]
) -> None:
    with pytest.raises(UserError) as refusal:
        submit(folder, ids, sample)
    assert [part for part in said if part not in str(refusal.value)] == []
    assert os.listdir(folder / "out") == []


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("\ufeffthe ID,probability\r\nU000,0\r\nU001,0\r\nU002,0\r\n", "probability"),
        ("y,the ID,odds\n0,U000,0\n0,U001,0\n0,U002,0", "y"),
        ("the ID\nU000\nU001\nU002\n", "y"),
        ("the ID;odds\nU000;0\nU001;0\nU002;0\n", "odds"),
    ],
    ids=["Windows with byte order mark", "two labels", "IDs alone", "semicolons"],
)
def test_sample_files_of_any_make_are_read_and_name_the_label(
    folder: Path, text: str, label: str
) -> None:
    written = submit(folder, IDS[:3], text)
    assert written["the ID"].tolist() == IDS[:3]
    assert written.columns.tolist() == ["the ID", label]
    assert '"' not in (folder / "out" / "submission.csv").read_text()


def test_rows_without_ids_are_numbered_from_1(folder: Path) -> None:
    # In predictions, each part counts its own rows.
    files, written = [folder / "0.parquet", folder / "1.parquet"], folder / "numbered.csv"
    for file, logit in zip(files, ([-2, -1, 0], [1, 2])):
        ids = [str(row) for row in range(1, len(logit) + 1)]
        write_table(pa.table({"id": ids, "logit": np.float32(logit)}), file)
    join_predictions([files], [1.0], written, id_column="", label_column="y")
    submitted = pd.read_csv(written)
    assert submitted["row"].tolist() == [1, 2, 3, 4, 5]
    assert submitted["y"].is_monotonic_increasing


LISTING = PartList(
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
    write_json(folder / "parts.json", asdict(LISTING))
    options |= NAMES | {"size": "toy"}
    options["codes"] = {model.parent.name: "a@1 b@2" for model in models}
    about = folder / "out" / "about.json"
    write_submission(files, folder / "parts.json", models, submission, about, **options)
    return pd.read_csv(submission, index_col="the ID")["y"]


def test_a_blend_is_the_weighted_mean_of_the_logits(folder: Path) -> None:
    a, b = np.linspace(-3, 1, 10), np.linspace(2, -5, 10)
    of_a, of_b = parts_of(folder, "a", a), parts_of(folder, "b", b)
    written = blended(folder, of_a, of_b, weights={"a": 3, "b": 1})
    assert written.index.tolist() == IDS
    assert written.tolist() == pytest.approx(expit((3 * a + b) / 4).tolist())
    about = {"simulated_data": True, "models": ["toy/a", "toy/b"], "rows": 10}
    about |= {"weights": [3, 1], "prior": "observed"}
    assert read_json(folder / "out/about.json") == about
    equal = blended(folder, of_a, of_b)
    assert equal.tolist() == pytest.approx(expit((a + b) / 2).tolist())
    write_json(folder / "fitted.json", {"b": 0.5})
    fitted = blended(folder, of_b, fitted=folder / "fitted.json")
    assert fitted.tolist() == pytest.approx(expit(b))


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
        ({"part": "version of 4"}, "b/part0.parquet: .* not from the current test rows"),
        ({"click_rate": "0.03"}, "different click rates"),
        ({"code": "a@1 b@3"}, "b/part0.parquet: .* code"),
        ({"full_name": "toy/c"}, "b/part0.parquet: .* toy/c"),
    ],
)
def test_models_whose_predictions_do_not_go_together_are_refused(
    folder: Path, change: dict[str, str], said: str
) -> None:
    of_a, of_b = parts_of(folder, "a", np.zeros(10)), parts_of(folder, "b", np.ones(10), **change)
    with pytest.raises(UserError, match=said):
        blended(folder, of_a, of_b, prior="balanced")
    assert os.listdir(folder / "out") == []


def test_a_sample_is_compared_with_the_test_file_before_anything_is_trained(folder: Path) -> None:
    parts, sample = folder / "out/parts.json", folder / "s.csv"
    # A pandas column of integers with a gap, as floats.
    test = write_raw(folder, raw_table(3, uid=[3.0, 1.0, 2.0]), "test")
    sample.write_text("uid,y\n1,0\n9,0\n")
    with pytest.raises(UserError, match=r"IDs only .*: 1, such as '9'; IDs not .*: 2, .*'3'"):
        list_parts(test, COLUMNS, parts, rows=3, sample_submission=sample)
    assert not parts.exists()
    sample.write_text("uid,y\n1,0\n2,0\n3,0\n")
    list_parts(test, COLUMNS, parts, rows=3, sample_submission=sample)
    assert read_part_list(parts).rows == 3
    with pytest.raises(UserError, match=r"test\.parquet: there are no rows"):
        list_parts(write_raw(folder, raw_table(0), "test"), COLUMNS, parts, rows=3)


ODD = ["", " ", " x", "x ", '"', '""', ",", "a,b", "\n", "\r", "a\r\nb", "007", "7", "1e5", "NA"]
ODD += ["nan", "null", "아이디", "\ufeff", "\u2028", "'", "\\", "\t", "#", "=1+1", "true"]
ID = st.sampled_from(ODD) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5
)
ANY_IDS = st.lists(ID, unique=True, min_size=1, max_size=20)


def quoted(ids: Sequence[str], data: st.DataObject) -> str:
    """A sample submission as any program might write it."""
    # Python before 3.13 leaves a lone \r unquoted.
    every = [csv.QUOTE_ALL]
    quotings = every if "\r" in "".join(ids) else [*every, csv.QUOTE_MINIMAL]
    quoting, end = data.draw(st.sampled_from(quotings)), data.draw(st.sampled_from(["\n", "\r\n"]))
    table = pd.DataFrame({"the ID": ids, "y": 0, "more": 0})
    columns = data.draw(st.permutations([*table]))
    return table[columns].to_csv(index=False, quoting=quoting, lineterminator=end)


@given(ids=ANY_IDS, data=st.data())
def test_any_ids_in_any_parts_and_order_keep_their_probability(
    ids: list[str], data: st.DataObject
) -> None:
    logit = {i: data.draw(st.floats(width=32, allow_nan=False, allow_infinity=False)) for i in ids}
    order = data.draw(st.permutations(ids))
    cuts, sample = data.draw(st.lists(st.integers(0, len(ids)), max_size=3)), None
    given = order, [logit[i] for i in order]
    if data.draw(st.booleans()):
        order = data.draw(st.permutations(ids))
        sample = quoted(order, data)
    with TemporaryDirectory() as folder:
        Path(folder, "out").mkdir()
        written = submit(Path(folder), given[0], sample, given[1], cuts)
    assert written.columns.tolist() == ["the ID", "y"]
    assert written["the ID"].tolist() == order
    # A float32 has no digits below 1e-37.
    expected = expit(np.float64([logit[i] for i in order]))
    assert written["y"].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-37)
    assert written["y"].between(0, 1).all()
