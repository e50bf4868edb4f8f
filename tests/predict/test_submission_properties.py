"""Any IDs, in any order, parts and CSV style, keep their probability."""

import csv
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feseq.common.parquet import write_table
from feseq.predict.submission import join_predictions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a test; each overwrites the files of the one before."""
    return tmp_path_factory.mktemp("properties")


ODD = ["", " ", " x", "x ", '"', '""', ",", "a,b", "\n", "\r", "a\r\nb", "007", "7", "1e5", "NA"]
ODD += ["nan", "null", "아이디", "\ufeff", "\u2028", "'", "\\", "\t", "#", "=1+1", "true"]
ID = st.sampled_from(ODD) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5
)
IDS = st.lists(ID, unique=True, min_size=1, max_size=20)


def write_parts(folder: Path, logit: list[tuple[str, float]], cuts: list[int]) -> list[Path]:
    """The pairs in parts that end at `cuts`."""
    bounds = [0, *sorted(cuts), len(logit)]
    paths = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        ids, values = (
            [i for i, _ in logit[start:stop]],
            [x for _, x in logit[start:stop]],
        )
        part = {"id": pa.array(ids, pa.string()), "logit": pa.array(values, pa.float32())}
        paths.append(folder / f"{number}.parquet")
        write_table(pa.table(part), paths[-1])
    return paths


def write_sample(path: Path, ids: Sequence[str], data: st.DataObject) -> None:
    """A sample submission as any program might write it."""
    # Python before 3.13 leaves a lone \r unquoted.
    quotings = [csv.QUOTE_ALL] + [csv.QUOTE_MINIMAL] * ("\r" not in "".join(ids))
    quoting = data.draw(st.sampled_from(quotings))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    columns = data.draw(st.permutations(["the ID", "y", "more"]))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=quoting, lineterminator=end)
        writer.writerow(columns)
        writer.writerows([i if name == "the ID" else "0" for name in columns] for i in ids)


def submit(parts: list[Path], sample: Path | None, folder: Path) -> list[list[str]]:
    """Submit, and read the CSV with Python's own reader."""
    path = folder / "submission.csv"
    names = {"id_column": "the ID", "label_column": "y"}
    join_predictions([parts], [1.0], path, sample_submission=sample, **names)
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, strict=True))


@given(ids=IDS, data=st.data())
def test_any_ids_in_any_parts_and_order_keep_their_probability(
    ids: list[str], data: st.DataObject, folder: Path
) -> None:
    logit = {i: data.draw(st.floats(-80, 80, width=32)) for i in ids}
    order = data.draw(st.permutations(ids))
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=3))
    parts = write_parts(folder, [(i, logit[i]) for i in order], cuts)
    sample = None
    if data.draw(st.booleans()):
        sample = folder / "sample.csv"
        order = data.draw(st.permutations(ids))
        write_sample(sample, order, data)
    header, *rows = submit(parts, sample, folder)
    assert header == ["the ID", "y"]
    assert [i for i, _ in rows] == order
    expected = [1 / (1 + math.exp(-logit[i])) for i in order]
    assert [float(value) for _, value in rows] == pytest.approx(expected, rel=1e-6)
