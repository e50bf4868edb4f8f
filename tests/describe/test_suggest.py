"""The suggested config: its roles, and that whatever the table, it can be used as it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from feseq.catalog.check import checked_config
from feseq.common.errors import UserError
from feseq.config.columns import Columns
from feseq.config.sampling import Sampling
from feseq.describe.suggest import suggested
from feseq.sampling.draw import sample
from feseq.storage.conversion import convert_test, convert_train
from support import REPOSITORY
from support.raw_tables import raw_table, write_raw

ROWS = 60
DEFAULT = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())


def written(folder: Path, train: pa.Table, test: pa.Table | None = None) -> dict[str, Any]:
    """What is suggested for two tables, as YAML reads it."""
    paths = [[str(write_raw(folder, t, n))] for t, n in ((train, "train"), (test, "test")) if t]
    text = suggested(*paths)
    found = yaml.safe_load(text)
    assert found["raw"]["test"] == (paths[1] if test else None)
    return found["columns"] | {"text": text}


def test_roles_come_from_types_names_and_values(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    days = np.repeat(np.arange(20_000, 20_010), 20)
    item = random.integers(0, 50, 200)
    table = raw_table(
        200,
        item=[f"sku-{i}" for i in item],
        events=[[f"sku-{(i + k) % 50}" for k in range(n)] for i, n in zip(item, days % 7)],
        event_time=[list(range(n)) for n in days % 7],
        pages=[",".join("123456"[:n]) for n in days % 7],
        hour=random.integers(0, 24, 200),
        user_id=random.integers(0, 30, 200),
        shown_time=np.append(0, days[1:] * 86_400),
        lost_time=[np.nan] * 200,
        candidate_id=days + 10**7,
        note=[f"note {i}" for i in range(200)],
        seen_at=pa.array(days).cast(pa.int32()).cast(pa.date32()),
        empty=pa.nulls(200),
        __index_level_0__=random.permutation(200),
    )
    found = written(tmp_path, table.drop_columns(["uid"]), table.drop_columns(["y", "unused"]))
    assert (found["label"], found["id"]) == ("y", "uid")
    (group,) = found["groups"].values()
    assert group["sequences"] == {"events": "item", "pages": "candidate_id"}
    assert group["share_embedding"] == ["events"]
    assert {*group["profile"]} == {"country", "user_id", "hour"}
    assert {*group["numeric"]} == {"age", "price", "lost_time"}
    unusable = ("event_time", "shown_time", "note", "seen_at", "empty", "__index_level_0__")
    for name in (*unusable, "unused"):
        assert f'# "{name}" is left out: ' in found["text"]
    assert '# sampling: {split: {time: "shown_time"}}' in found["text"]
    assert '# sampling: {split: {group: "user_id"}}' in found["text"]


def test_without_a_label_or_an_id_nothing_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label"):
        written(tmp_path, raw_table(ROWS, y=[0, 1, 2] * 20))
    test = raw_table(ROWS, 1, uid=["a"] * ROWS).select(["uid", "price", "country"])
    with pytest.raises(UserError, match="ID"):
        written(tmp_path, raw_table(ROWS), test)
    vectors = [[0.5]] * ROWS
    with pytest.raises(UserError, match=r"vector.* list of float"):
        written(tmp_path, pa.table({"y": [0, 1] * (ROWS // 2), "vector": vectors}))


# Names that YAML or the config could take for something else.
NAMES = st.one_of(
    st.sampled_from(["a", "yes", "1", "1e3", "a: b", "#c", "- d", "", " ", "'", '"', "f_{1..3}"]),
    st.sampled_from(["{x}", "null", "~", "a\nb: c", "a\x85b", " \u2028c", "\u2029", "값"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
)
LISTS = st.lists(st.integers(0, 9), max_size=4)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pa.string(), st.sampled_from(["x", "y", "", None])),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["x", "y", "", None])),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    (pa.string(), LISTS.map(lambda row: ",".join(map(str, row)))),
    (pa.string(), LISTS.map(lambda row: ",".join(f"p{i}" for i in row))),
    (pa.list_(pa.int64()), LISTS),
    (pa.list_(pa.string()), LISTS.map(lambda row: [f"p {i}" for i in row])),
    (pa.list_(pa.float64()), LISTS),
    (pa.bool_(), st.sampled_from([True, False, None])),
    (pa.float32(), st.floats(width=32)),
    (pa.int64(), st.integers(-3, 2**60)),
    (pa.decimal128(5, 2), st.integers(0, 99)),
    (pa.timestamp("s"), st.integers(0, 10**9)),
    (pa.binary(), st.binary(max_size=2)),
    (pa.null(), st.none()),
]


@st.composite
def columns_of(draw: st.DrawFn) -> dict[str, pa.Array]:
    """Some columns of any types and names, but the label's and the ID's."""
    names = draw(st.lists(NAMES.filter(lambda n: n not in ("y", "uid")), max_size=6, unique=True))
    found = {}
    for name in names:
        kind, value = draw(st.sampled_from(VALUES))
        some = draw(st.lists(value, min_size=1, max_size=5))
        found[name] = pa.array((some * ROWS)[:ROWS], kind)
    return found


@given(given=columns_of(), data=st.data())
def test_whatever_the_table_what_is_suggested_can_be_used_as_it_is(
    given: dict[str, pa.Array], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("suggested")
    feature = {"feature": [1.5, 2.5] * (ROWS // 2)}
    train = pa.table({"y": [0, 1] * (ROWS // 2), **feature, **given})
    others = data.draw(st.lists(st.sampled_from([*given]), unique=True)) if given else []
    test = pa.table({"uid": [f"u{i}" for i in range(ROWS)], **feature})
    for name in others:
        test = test.append_column(name, given[name])
    found = written(folder, train, test if data.draw(st.booleans()) else None)
    text = found.pop("text")
    columns = Columns.from_config(checked_config(DEFAULT | {"columns": found})["columns"])
    for name in given:
        remark = f"# {json.dumps(name)} is left out: "
        assert (name in columns.features) != (remark in text), name
    files: dict[str, Any] = {"selection": folder / "s.parquet", "parts": folder / "parts.json"}
    sample(folder / "train.parquet", "y", None, Sampling(), part_rows=ROWS, **files)
    h5 = folder / "train.h5", folder / "valid.h5"
    convert_train(folder / "train.parquet", files["selection"], columns, *h5)
    if (folder / "test.parquet").exists():
        convert_test(folder / "test.parquet", columns, folder / "test.h5")
