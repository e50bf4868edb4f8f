"""Raw parquet to H5: values, round trips, and what faults leave: never a half-made file."""

import os
import re
import resource
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.raw_tables import (
    COLUMNS,
    as_float32,
    as_lists,
    content,
    h5_columns,
    raw_columns,
    raw_table,
    selected,
    to_test_h5,
    to_train_h5,
    with_columns,
    with_roles,
    write_raw,
)
from tossctr.common.errors import UserError
from tossctr.config.columns import SEPARATORS
from tossctr.datasets import conversion
from tossctr.datasets.categories import codes_of, lowercase_booleans, tokens_of
from tossctr.datasets.conversion import convert_test, convert_train
from tossctr.datasets.draw import Selection, sample, write_selections
from tossctr.datasets.raw_values import NO_TEXT, parse_sequences
from tossctr.datasets.split import Sampling
from tossctr.datasets.store import H5Table
from tossctr.features.feature_map import FeatureMap, needed_columns
from tossctr.features.fitting import fit_feature_map


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("shuffled_bytes", "fewest", "most"), [(1 << 30, 1, 1), (4_000, 3, 39)])
def test_the_files_give_back_every_raw_value_and_are_shuffled_as_far_as_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffled_bytes: int, fewest: int, most: int
) -> None:
    monkeypatch.setattr(conversion, "SHUFFLED_BYTES", shuffled_bytes)
    table = raw_table(200)
    paths = to_train_h5(tmp_path, table, period=np.arange(200) % 5)
    chosen = Selection.read(tmp_path / "selection.parquet")
    seen: list[int] = []
    for number, path in enumerate(paths):
        with H5Table(path) as h5:
            row, label, period = (h5.column(name) for name in ("row", "label", "period"))
            assert h5_columns(h5) == raw_columns(table.take(row))
        assert label.tolist() == table["y"].to_numpy()[row].tolist()
        assert set(chosen.split[row]) == {number}
        assert period.tolist() == (row % 5).tolist()
        # Shuffles that follow each other: in the drawn order, and behind all rows before them.
        cuts = [0, *(1 + np.flatnonzero(np.diff(chosen.position[row]) < 0)), len(row)]
        assert fewest <= len(cuts) - 1 <= most
        assert sum(row[i:].min() > max([-1, *row[:i]]) for i in cuts[:-1]) >= fewest
        seen += row.tolist()
    assert sorted(seen) == list(range(200))


@pytest.mark.usefixtures("small_batches")
def test_test_rows_come_back_in_file_order_with_their_ids(tmp_path: Path) -> None:
    kinds = (lambda i: f"{10**i}", lambda i: f"아이디,{'é' * (i % 5)}{i}", lambda i: f"{i:07d}")
    ids = [kinds[i % 3](i) for i in range(120)]
    table = raw_table(uid=ids).drop_columns("y")
    with H5Table(to_test_h5(tmp_path, table)) as h5:
        assert h5_columns(h5) == raw_columns(table)
        assert [word.decode() for word in h5.column("id")] == ids
        assert h5.column("row").tolist() == list(range(len(table)))
        assert h5.read(0, 1).label is None
    with H5Table(to_test_h5(tmp_path, raw_table(uid=range(0, 360, 3)))) as h5:
        assert [word.decode() for word in h5.column("id")] == [str(i) for i in range(0, 360, 3)]


def test_the_result_does_not_depend_on_batches_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, contents = raw_table(60), []
    for batch_rows, written_rows, group_rows in ((1_000, 1_000, 1_000), (7, 1_000, 1), (20, 4, 13)):
        monkeypatch.setattr(conversion, "BATCH_ROWS", batch_rows)
        monkeypatch.setattr(conversion, "WRITTEN_ROWS", written_rows)
        train = to_train_h5(tmp_path, table, valid_rows=range(1, 60, 2), row_group_size=group_rows)
        test = to_test_h5(tmp_path, table, row_group_size=group_rows)
        contents.append([content(path) for path in (*train, test)])
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize(
    ("column", "words", "numbers"),
    [
        (pa.array([3, None, -1], pa.int32()), ["3", None, "-1"], [3, None, -1]),
        (pa.array([2**24 + 1, None]), ["16777217", None], [2**24, None]),
        (pa.array([1.0, np.nan, 2.5, None]), ["1", None, "2.5", None], [1, None, 2.5, None]),
        (pa.array([0.1, 123456792.0], pa.float32()), ["0.1", "123456792"], [0.1, 123456792]),
        (pa.array([True, False, None]), ["true", "false", None], [1, 0, None]),
        (pa.array(["b", None, ""], pa.large_string()), ["b", None, ""], None),
        (pa.array([7, None, 7, 9]).dictionary_encode(), ["7", None, "7", "9"], None),
        (pa.array([Decimal("7.00"), None, Decimal("0.49")]), ["7", None, "0.49"], [7, None, 0.49]),
        (pa.nulls(4, pa.string()), [None] * 4, None),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_values_of_every_type_become_their_text_or_float32(
    tmp_path: Path, column: pa.Array, words: list[Any], numbers: list[Any] | None
) -> None:
    given = {"country": column} | ({"age": column} if numbers else {})
    with H5Table(to_test_h5(tmp_path, raw_table(len(column), **given))) as h5:
        columns = h5_columns(h5)
    assert columns["country"] == words
    assert numbers is None or columns["age"] == as_float32(numbers)


NUMBERS = (st.integers(0, 9999) | st.integers(0, 10**18 - 1)).map(str)
# What can stand in text, and what a list alone may hold.
WORDS = st.text(min_size=1, max_size=5).filter(lambda w: not NO_TEXT.search(w))
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
LOOKALIKES = st.sampled_from(["7", "12", "007", "a12"])
# The type of a column, and the tokens that it may hold.
TYPES: list[tuple[pa.DataType, st.SearchStrategy[str]]] = [
    *((text, NUMBERS) for text in (pa.string(), pa.large_string())),
    *((text, LOOKALIKES | WORDS) for text in (pa.string(), pa.large_string())),
    (pa.list_(pa.string()), LOOKALIKES | ANY),
    *((integers, NUMBERS) for integers in (pa.list_(pa.int64()), pa.large_list(pa.uint64()))),
]


@pytest.mark.parametrize(("kind", "tokens"), TYPES)
@given(data=st.data(), separator=st.sampled_from(SEPARATORS), around=st.integers(0, 3))
def test_any_token_is_an_integer_or_the_token_of_its_word_as_a_category(
    kind: pa.DataType, tokens: Any, data: st.DataObject, separator: str, around: int
) -> None:
    rows = data.draw(st.lists(st.none() | st.lists(tokens, max_size=8), max_size=8))
    # The column is perhaps a part of a longer one.
    values: list[Any] = [*[["1"]] * around, *rows, ["2", "3"]]
    if kind in (pa.string(), pa.large_string()):
        values = [None if row is None else separator.join(row) for row in values]
    elif tokens is NUMBERS:
        values = [None if row is None else [*map(int, row)] for row in values]
    column, numbers = pa.array(values, kind).slice(around, len(rows)), np.arange(len(rows))
    parsed, words = parse_sequences(column, "events", "raw", numbers, separator=separator)

    def is_integer(word: str) -> bool:
        return word.isascii() and word.isdigit() and len(word) <= 18 and str(int(word)) == word

    expected = [
        [int(w) if is_integer(w) else int(tokens_of(codes_of([w]))[0]) for w in row or []]
        for row in rows
    ]
    assert as_lists(parsed) == expected
    largest = max((value for row in expected for value in row), default=0)
    assert parsed.values.dtype == np.min_scalar_type(largest)
    texts = {word for row in rows for word in row or [] if not is_integer(word)}
    assert {*words} == {*lowercase_booleans(texts)}
    if tokens is NUMBERS:
        times, _ = parse_sequences(column, "times", "raw", numbers, separator=separator, times=True)
        assert as_lists(times) == expected


WORDY = ["a", "b,c", None]


@pytest.mark.parametrize(
    ("column", "times", "token"),
    [
        (pa.array([[1, 2], None, [], [3, -4], [-5]]), True, "'-4'"),
        (pa.array(["1", "2,3", None, f"4,{10**18}", ""]), True, f"'{10**18}'"),
        (pa.array([*WORDY, "a, b", "x|y"]), False, "' b'"),
        (pa.array([*WORDY, "a,,b", ",a"]), False, "''"),
        (pa.array([*WORDY, "[1", "2]"]), False, "'[1'"),
        (pa.array([["a"], ["b c"], None, ["b", ""], [""]]), False, "''"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_token_or_time_is_refused_with_its_row(
    column: pa.Array, times: bool, token: str
) -> None:
    rows = np.array([4, 8, 15, 16, 23])
    # The error names the first of several.
    with pytest.raises(UserError) as refusal:
        parse_sequences(column, "events", "raw.parquet", rows, times=times)
    message = str(refusal.value)
    assert message.startswith("raw.parquet: column 'events'")
    assert f"row 17 (1-based): token {token}" in message
    # Rows outside a slice are not read.
    parsed, _ = parse_sequences(column[2:3], "events", "raw.parquet", rows[2:3], times=times)
    assert as_lists(parsed) == [[]]


def test_a_code_is_fixed_as_files_keep_it_and_its_token_of_another_range() -> None:
    hashes = [10291484856862268816, 12467793378338378946, 14475150507552910542]
    codes = codes_of(["0", "12", "012", "", "일본"])
    assert codes.tolist() == [1, 13, *hashes]
    # No integer of a sequence is as large as the token of a text.
    of_texts = [each % 2**62 + 2**62 for each in hashes]
    assert tokens_of(np.append(codes, np.uint64(0))).tolist() == [0, 12, *of_texts, -1]


def test_histories_with_another_separator_and_words_for_labels_read_the_same(
    tmp_path: Path,
) -> None:
    table, columns = raw_table(40), with_roles(separator="|")
    words = {
        "events": pc.replace_substring(table["events"], ",", "|").to_pylist(),
        "y": ["Yes" if y else "no" for y in table["y"].to_pylist()],
    }
    plain = to_train_h5(tmp_path / "plain", table)
    others = to_train_h5(tmp_path / "words", with_columns(table, **words), columns=columns)
    assert [*map(content, plain)] == [*map(content, others)]
    # Who scores rows by a model knows what joins their events.
    feature_map = FeatureMap.from_dict(fit_feature_map(others[0], columns, 1).to_dict())
    assert needed_columns([feature_map]).separator == "|"


TEN = [f"U{i}" for i in range(10)]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"uid": [*TEN[:8], "U2", "U0"]}, "more than once: 2"),
        ({"uid": [*TEN[:4], None, *TEN[5:9], None]}, "'uid'.* row 5 .1-based."),
        ({"uid": [[i] for i in range(10)]}, "'uid'.*list<"),
        ({"country": pa.array([b"a", b"\xff"] * 5).view(pa.string())}, "'country'.*UTF-8"),
        ({"country": ["a\0b", *TEN[1:]]}, "'country'.*NUL"),
        ({"events": pa.array([[1.0]] * 9 + [[]])}, "'events'.*list<"),
        ({"events": ["1,2"] * 9 + ["1, x"]}, "'events'.*row 10 .1-based.: token ' x'"),
        ({"item": None, "price": None}, "no column 'item', 'price'"),
        ({"uid": None}, "no column 'uid'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_column_and_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], named: str
) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 3)
    lacking = [name for name, values in given.items() if values is None]
    table = raw_table(10, **({} if lacking else given)).drop_columns(lacking)
    with pytest.raises(UserError, match=named):
        to_test_h5(tmp_path, table)
    assert "test.h5" not in os.listdir(tmp_path)


def test_a_selection_of_a_file_since_replaced_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, raw_table(100))
    drawn: dict[str, Any] = {"selection": tmp_path / "s.parquet", "parts": tmp_path / "parts.json"}
    sample(raw, "y", None, Sampling(), part_rows=100, **drawn)
    write_raw(tmp_path, raw_table(200, seed=5))
    h5 = {name: tmp_path / f"{name}.h5" for name in ("train", "valid")}
    with pytest.raises(UserError, match=r"raw.parquet: was replaced"):
        convert_train(raw, columns=COLUMNS, **drawn, **h5)
    assert not h5["train"].exists()


@pytest.fixture
def conversions(tmp_path: Path) -> list[Callable[[], None]]:
    """What converts the table `raw.parquet` of 400 rows, as train and as test table."""
    table = raw_table(400)
    raw, selection = write_raw(tmp_path, table), tmp_path / "selection.parquet"
    write_selections([selected(table["y"].to_numpy())], selection)
    train, valid, test = (tmp_path / f"{name}.h5" for name in ("train", "valid", "test"))
    return [
        partial(convert_train, raw, selection, COLUMNS, train, valid),
        partial(convert_test, raw, COLUMNS, test),
    ]


def test_damaged_parquet_is_refused_and_leaves_nothing(
    tmp_path: Path, conversions: list[Callable[[], None]]
) -> None:
    raw = tmp_path / "raw.parquet"
    whole, before = raw.read_bytes(), sorted(os.listdir(tmp_path))
    half = len(whole) // 2
    pages = whole[:4] + b"\xff" * half + whole[4 + half :]
    for damaged in (b"", whole[:half], b"uid,item\n1,2\n" * 50, pages):
        raw.write_bytes(damaged)
        for convert in conversions:
            with pytest.raises(UserError, match=re.escape(str(raw))):
                convert()
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("most", [0, 20_000])
def test_where_no_more_can_be_written_a_clear_error_and_no_half_file_are_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    conversions: list[Callable[[], None]],
    most: int,
) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 20)
    before = sorted(os.listdir(tmp_path))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    for convert in conversions:
        # As a quota does, it lets some writes through.
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, unlimited[1]))
        try:
            with pytest.raises(OSError, match=r"File too large.*\.h5"):
                convert()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("damage", [0.0, 0.3, 0.9999, ("version", 8), ("format", "x")])
def test_an_h5_file_that_is_damaged_or_of_another_format_is_refused(
    tmp_path: Path, damage: Any
) -> None:
    h5 = to_test_h5(tmp_path, raw_table())
    if isinstance(damage, float):
        h5.write_bytes(h5.read_bytes()[: int(h5.stat().st_size * damage)])
    else:
        with h5py.File(h5, "a") as file:
            file.attrs.update([damage])
    with pytest.raises(UserError, match=f"{re.escape(str(h5))}.*delete it and run the same"):
        H5Table(h5)


@pytest.mark.parametrize(
    "change",
    [
        lambda offsets: np.where(np.arange(len(offsets)) == 9, offsets[-1], offsets),
        lambda offsets: offsets - 1,
        lambda offsets: offsets + 1,
        lambda offsets: offsets[:-3],
    ],
    ids=["they fall", "below 0", "beyond the values", "too few"],
)
def test_offsets_that_a_program_changed_are_refused_before_compiled_loops_read_them(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    h5, name = to_test_h5(tmp_path, raw_table()), "sequence/events/offsets"
    with h5py.File(h5, "r+") as file:
        changed = change(file[name][:])
        del file[name]
        file[name] = changed
    with H5Table(h5) as table, pytest.raises(UserError, match="not a complete file"):
        table.read(0, table.rows)
