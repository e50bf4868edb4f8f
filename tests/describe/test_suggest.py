"""The suggested table file: its roles, and that whatever the table, it can be used as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from feseq.catalog.check import checked_config
from feseq.common.errors import UserError
from feseq.config.columns import SEPARATORS, Columns
from feseq.config.sampling import Sampling
from feseq.describe.suggest import suggested
from feseq.describe.table_file import scalar
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
    table = yaml.safe_load(text)
    assert [[f] for f in table["raw"].values() if f] == paths
    return table["columns"] | {"text": text, "score": table["score"]}


def test_a_table_of_semicolons_has_histories_by_commas_codes_and_odd_dates(tmp_path: Path) -> None:
    lines = ["y;uid;seen;item;events"]
    codes = [f"{i:03}" for i in range(20)]
    for i in range(400):
        events = ",".join(codes[(i + k) % 20] for k in range(i % 4))
        lines.append(f"{i % 2};u{i};{1 + i % 28:02}/03/2024;{codes[i % 20]};{events}")
    path = tmp_path / "raw.csv"
    path.write_text("\n".join(lines) + "\n")
    text = suggested([str(path)])
    suggestion = yaml.safe_load(text)
    assert suggestion["raw"]["delimiter"] == ";"
    (group,) = suggestion["columns"]["groups"].values()
    assert (group["sequences"], group["share_embedding"]) == ({"events": "item"}, ["events"])
    assert "# seen is left out: a date " in text


def test_roles_come_from_types_names_and_values(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    days = np.repeat(np.arange(20_000, 20_010), 20)
    item, length, now = random.integers(0, 50, 200), days % 7, days * 86_400
    table = raw_table(
        200,
        item=[f"sku-{i}" for i in item],
        events=[[f"sku-{(i + k) % 50}" for k in range(n)] for i, n in zip(item, length)],
        seen_times=[[t - n + k for k in range(n)] for t, n in zip(now, length)],
        event_time=[list(range(n)) for n in length],
        pages=[",".join("123456"[:n]) for n in length],
        hour=random.integers(0, 24, 200),
        user_id=random.integers(0, 30, 200),
        shown_time=now,
        stay_time=random.integers(0, 300, 200),
        lost_time=[np.nan] * 200,
        candidate_id=days + 10**7,
        note=[f"note {i}" for i in range(200)],
        birth_date=pa.array(days).cast(pa.int32()).cast(pa.date32()),
        empty=pa.nulls(200),
        as_text=["[1, 2]"] * 200,
        number=random.permutation(200),
        __index_level_0__=random.permutation(200),
    )
    suggestion = written(tmp_path, table.drop_columns(["uid"]), table.drop_columns(["y", "unused"]))
    named = [suggestion[role] for role in ("label", "id", "time", "group", "score")]
    assert named == ["y", "uid", "shown_time", "user_id", "logloss"]
    (group,) = suggestion["groups"].values()
    assert group["sequences"] == {"events": "item", "pages": "candidate_id"}
    assert group["times"] == {"seen_times": "shown_time"}
    assert group["share_embedding"] == ["events"]
    assert {*group["profile"]} == {"country", "hour"}
    assert group["context"] == ["user_id"]
    assert {*group["numeric"]} == {"age", "price", "lost_time", "stay_time"}
    lines = suggestion["text"].splitlines()
    for doubt in ("- hour  # or numeric", "- stay_time  # or context, or columns.time"):
        assert any(line.strip().startswith(doubt) for line in lines)
    unusable = ("event_time", "note", "birth_date", "empty", "as_text", "number")
    for name in (*unusable, "__index_level_0__", "unused"):
        assert f"# {name} is left out: " in suggestion["text"]


def test_words_are_labels_and_a_history_needs_an_item(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tokens = [" ".join(map(str, random.integers(100, 110, n))) for n in np.arange(ROWS) % 5]
    given: dict[str, Any] = {
        "ID": np.arange(ROWS) // 2,
        "day": ["07", "08", "09"] * (ROWS // 3),
        "memberId": random.integers(0, 20, ROWS),
        "device": random.integers(0, 3, ROWS),
        "town": ["New York", "Lyon", "Los Angeles"] * (ROWS // 3),
        "seen": tokens,
        "bought": ["no", "Yes"] * (ROWS // 2),
    }
    suggestion = written(tmp_path, pa.table(given))
    assert [suggestion[role] for role in ("label", "time", "group")] == [
        "bought",
        "day",
        "memberId",
    ]
    assert suggestion["id"] not in given
    (group,) = suggestion["groups"].values()
    assert group == {"profile": ["ID", "device", "town"], "context": ["memberId"]}
    assert "label: bought  # yes is 1, no is 0" in suggestion["text"]
    assert "or sequences: {seen: " in suggestion["text"].partition("# seen is left out")[2]
    # With one, its tokens are read by what joins them.
    suggestion = written(tmp_path, pa.table(given | {"shown": [t[:3] or "500" for t in tokens]}))
    (group,) = suggestion["groups"].values()
    assert (group["sequences"], group["separator"]) == ({"seen": "shown"}, " ")


def test_csv_has_the_roles_of_the_same_rows_in_parquet(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "y": [True, False] * (ROWS // 2),
            "user_id": random.integers(0, 20, ROWS),
            "seen_at": pd.date_range("2024-01-31", periods=ROWS, freq="h").as_unit("us"),
            "age": random.choice([18.5, 30, np.nan], ROWS),
            "zip": [f"0{i % 9}" for i in range(ROWS)],
            "item": random.choice(["a", "b"], ROWS),
            "seen": random.choice(["a|b", "a", "b|b|a"], ROWS),
        }
    )
    raw = tmp_path / "train.csv"
    table.to_csv(raw, sep=";", index=False, na_rep="NA")
    suggestion = yaml.safe_load(suggested([str(raw)]))
    assert suggestion["raw"] == {"train": str(raw), "test": None, "delimiter": ";"}
    parquet = written(tmp_path, pa.table(table))
    assert suggestion["columns"] == {key: parquet[key] for key in suggestion["columns"]}
    assert parquet["time"] == "seen_at"
    assert parquet["groups"]["all"]["numeric"] == ["age"]
    assert parquet["groups"]["all"]["separator"] == "|"


def test_without_a_label_or_an_id_nothing_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label"):
        written(tmp_path, raw_table(ROWS, y=[0, 1, 2] * 20))
    test = raw_table(ROWS, 1, uid=["a"] * ROWS).select(["uid", "price", "country"])
    with pytest.raises(UserError, match="ID"):
        written(tmp_path, raw_table(ROWS), test)
    # Columns that are named like a label or an ID, and have values that are no text.
    for odd in (pa.array([[1]] * ROWS), pa.array([{"a": 1}] * ROWS), pa.array([b"\xff"] * ROWS)):
        with pytest.raises(UserError, match=r"label.*'clicked' is of type"):
            written(tmp_path, pa.table({"clicked": odd, "price": [0.5] * ROWS}))
        with pytest.raises(UserError, match=r"ID.*'uid' is of type"):
            written(tmp_path, raw_table(ROWS), pa.table({"uid": odd}))
    vectors = [[0.5]] * ROWS
    with pytest.raises(UserError, match=r"vector.* list of float"):
        written(tmp_path, pa.table({"y": [0, 1] * (ROWS // 2), "vector": vectors}))


def test_a_test_table_may_have_the_label_without_values(tmp_path: Path) -> None:
    train = raw_table(ROWS).append_column("refunded", pa.array([True, False] * (ROWS // 2)))
    train = train.append_column("clicked", train["y"]).drop_columns("y")
    test = raw_table(ROWS, 1, age=pa.nulls(ROWS, pa.int16())).drop_columns("y")
    suggestion = written(tmp_path, train, test.append_column("clicked", pa.nulls(ROWS, pa.int8())))
    assert suggestion["label"] == "clicked"
    for left_out in ("refunded", "age"):
        assert f"# {left_out} is left out: " in suggestion["text"]
    # A column that is not in the test file comes first, unless another one is named like a label.
    names = ["member" if name == "clicked" else name for name in train.schema.names]
    test = test.append_column("member", pa.nulls(ROWS, pa.int8()))
    assert written(tmp_path, train.rename_columns(names), test)["label"] == "refunded"


def test_columns_that_not_all_files_have_or_have_alike_are_left_out_with_the_reason(
    tmp_path: Path,
) -> None:
    rows, parts = raw_table(ROWS), []
    for i in range(2):
        part = rows.append_column("mixed", pa.array([[f"{i}"] if i else i] * ROWS))
        part = part.append_column(f"only_{i}", rows["price"])
        parts.append(str(write_raw(tmp_path, part, f"part{i}")))
    text = suggested(parts)
    for name in ("mixed", "only_0", "only_1"):
        assert f"# {name} is left out: " in text


def test_columns_that_are_nearly_numbers_or_times_are_left_out_with_the_reason(
    tmp_path: Path,
) -> None:
    numbers = [f"{i / 7:.3f}" for i in range(ROWS)]
    columns = {
        "stray": [*numbers[1:], "abc"],
        "commas": [number.replace(".", ",") for number in numbers],
        "twice": numbers,
        "when": ["", *(f"2024-03-01 10:{i:02}:00" for i in range(1, ROWS))],
        "blank": [""] * ROWS,
    }
    frame = pd.DataFrame({"y": [0, 1] * (ROWS // 2), "price": numbers} | columns)
    path = tmp_path / "train.csv"
    pd.concat([frame, frame[["twice"]]], axis=1).to_csv(path, index=False)
    text = suggested([str(path)])
    reasons = {
        "stray": "'abc' stands among",
        "commas": "'0,000' stands among",
        "when": "some rows lack",
        "twice": "occurs twice",
        "blank": "no values",
    }
    for name, reason in reasons.items():
        (line,) = (line for line in text.splitlines() if f" {name} is left out: " in line)
        assert reason in line
    frame.drop(columns="y").to_csv(tmp_path / "test.csv", index=False, sep=";")
    with pytest.raises(UserError, match=r"test.csv: .* ','"):
        suggested([str(path)], [str(tmp_path / "test.csv")])


@pytest.mark.parametrize(
    "price",
    [
        lambda cents: f"{cents // 100},{cents % 100:02}",
        lambda cents: f"{cents / 100:.2f}",
        lambda cents: f"{cents:,}",
        lambda cents: f"{cents:,}".replace(",", "."),
        lambda cents: f"₩{cents:,}",
        lambda cents: f"{cents // 100},{cents % 100:02} €",
        lambda cents: f"-{cents:,}" if cents % 3 else f"{cents:,}",
    ],
)
@pytest.mark.parametrize("separator", [";", ","])
def test_prices_are_no_histories(
    tmp_path: Path, price: Callable[[int], str], separator: str
) -> None:
    random = np.random.default_rng(0)
    rows = {
        "y": [0, 1] * 200,
        "price": [price(int(cents)) for cents in random.integers(100, 99_999, 400)],
        "product_id": random.integers(1, 150, 400),
        "hour": random.integers(0, 24, 400),
        "seen": [",".join(map(str, random.integers(1, 150, n))) for n in np.arange(400) % 5],
    }
    path = tmp_path / "raw.csv"
    pd.DataFrame(rows).to_csv(path, index=False, sep=separator)
    (group,) = yaml.safe_load(suggested([str(path)]))["columns"]["groups"].values()
    assert group["sequences"] == {"seen": "product_id"}


# Names that YAML or the config could take for something else.
NAMES = st.one_of(
    st.sampled_from(["a", "yes", "1", "1e3", "a: b", "#c", "- d", "", " ", "'", '"', "f_{1..3}"]),
    st.sampled_from(["day", "user_id", "created_at", "x_time"]),
    st.sampled_from(["{x}", "null", "~", "a\nb: c", "a\x85b", " \u2028c", "\u2029", "값"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
)
LISTS = st.lists(st.integers(0, 9), max_size=4)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pa.string(), st.sampled_from(["x", "y", "", None])),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["x", "y", "", None])),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    *((pa.string(), LISTS.map(lambda row, s=s: s.join(map(str, row)))) for s in SEPARATORS),
    (pa.string(), st.sampled_from(["2024-01-31", "2024-02-01 10:00:00"])),
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
    columns = {}
    for name in names:
        kind, value = draw(st.sampled_from(VALUES))
        some = draw(st.lists(value, min_size=1, max_size=5))
        columns[name] = pa.array((some * ROWS)[:ROWS], kind)
    return columns


@given(given=columns_of(), data=st.data())
def test_whatever_the_table_what_is_suggested_can_be_used_as_it_is(
    given: dict[str, pa.Array], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("suggested")
    feature = {"feature": [1.5, 2.5] * (ROWS // 2)}
    labels = data.draw(st.sampled_from([[0, 1], ["n", "Y"], ["False", "true"]]))
    train = pa.table({"y": labels * (ROWS // 2), **feature, **given})
    others = data.draw(st.lists(st.sampled_from([*given]), unique=True)) if given else []
    test = pa.table({"uid": [f"u{i}" for i in range(ROWS)], **feature})
    for name in others:
        test = test.append_column(name, given[name])
    suggestion = written(folder, train, test if data.draw(st.booleans()) else None)
    text, _ = suggestion.pop("text"), suggestion.pop("score")
    table = {"raw": {"train": "train.parquet"}, "columns": suggestion}
    checked = checked_config(DEFAULT | {"table": table})
    columns = Columns.from_config(checked["table"]["columns"])
    roles = {*columns.features, suggestion.get("time"), suggestion.get("group")}
    for name in given:
        assert name in roles or f"# {scalar(name)} is left out: " in text, name
    files: dict[str, Any] = {"selection": folder / "s.parquet", "parts": folder / "parts.json"}
    sample(folder / "train.parquet", "y", None, Sampling(), part_rows=ROWS, **files)
    h5 = folder / "train.h5", folder / "valid.h5"
    convert_train(folder / "train.parquet", files["selection"], columns, *h5)
    if (folder / "test.parquet").exists():
        convert_test(folder / "test.parquet", columns, folder / "test.h5")
