"""Sequences: text to ragged rows against a plain split, and taking rows."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feseq.common.errors import UserError
from feseq.common.ragged import Ragged
from feseq.dataset.sequence_parser import parse_sequences
from support.raw_tables import split_events

Texts = list[str | None]
# Rows of short tokens alone are common, and read by other code than rows with a long one.
SHORT = st.from_regex(r"[0-9]{1,4}", fullmatch=True)
TOKEN = st.sampled_from([SHORT, SHORT | st.from_regex(r"[0-9]{1,18}", fullmatch=True)])
ROWS = TOKEN.flatmap(
    lambda token: st.lists(st.none() | st.lists(token, max_size=40).map(",".join), max_size=12)
)
FORMS: dict[str, Callable[[Texts], pa.Array]] = {
    "string": lambda texts: pa.array(texts, pa.string()),
    "large_string": lambda texts: pa.array(texts, pa.large_string()),
    "dictionary": lambda texts: pa.array(texts, pa.string()).dictionary_encode(),
    "sliced": lambda texts: pa.array(["5,5", None, *texts, "x"], pa.string()).slice(2, len(texts)),
    "sliced, large": lambda texts: pa.array(["", *texts, "9,"], pa.large_string())[1:-1],
}


def as_lists(ragged: Ragged) -> list[list[int]]:
    bounds = ragged.offsets.tolist()
    return [ragged.values[a:b].tolist() for a, b in pairwise(bounds)]


def parse(
    texts: Texts, form: str = "string", first_row: int = 0, order: Sequence[int] | None = None
) -> Ragged:
    rows = np.arange(first_row, first_row + len(texts))
    places = np.array(range(len(texts)) if order is None else order, np.int64)
    return parse_sequences(FORMS[form](texts), "events", "raw.parquet", rows, places)


@settings(max_examples=50, deadline=None)
@given(texts=ROWS, form=st.sampled_from(sorted(FORMS)))
def test_parsing_equals_a_plain_split(texts: Texts, form: str) -> None:
    ragged = parse(texts, form)
    expected = [split_events(text) for text in texts]
    assert as_lists(ragged) == expected
    largest = max((token for row in expected for token in row), default=0)
    assert ragged.values.dtype == np.min_scalar_type(largest)
    assert ragged.offsets.dtype == np.int64


@settings(max_examples=50, deadline=None)
@given(texts=ROWS, form=st.sampled_from(sorted(FORMS)), data=st.data())
def test_rows_are_parsed_in_the_order_asked_for(
    texts: Texts, form: str, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(texts))))
    ragged = parse(texts, form, order=order)
    assert as_lists(ragged) == [split_events(texts[place]) for place in order]


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text("0123456789,,- .x²", max_size=21), max_size=6))
def test_a_row_is_parsed_or_refused_exactly_as_its_tokens_deserve(texts: Texts) -> None:
    bad = [
        (row, token)
        for row, text in enumerate(texts)
        for token in (text.split(",") if text else [])
        if not re.fullmatch("[0-9]{1,18}", token)
    ]
    if not bad:
        assert as_lists(parse(texts)) == [split_events(text) for text in texts]
        return
    with pytest.raises(UserError) as refusal:
        parse(texts, first_row=500, order=range(len(texts))[::-1])
    row, token = bad[0]
    assert f"row {row + 500}: token {token!r} " in str(refusal.value)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("1,,2", ""),
        (",1", ""),
        ("1,", ""),
        (",", ""),
        ("1.5", "1.5"),
        ("7,-3", "-3"),
        (" 1", " 1"),
        ("1,2 ,3", "2 "),
        ("x", "x"),
        ("1\n", "1\n"),
        ("1234567890123456789", "1234567890123456789"),
        ("٣", "٣"),
        ("1,²", "²"),
    ],
)
def test_a_bad_token_is_refused_with_file_column_row_and_token(
    form: str, text: str, token: str
) -> None:
    texts = ["1,2", None, "", text, "3"]
    rows = np.array([4, 8, 15, 16, 23])
    with pytest.raises(UserError) as refusal:
        parse_sequences(FORMS[form](texts), "events", "raw.parquet", rows, np.arange(5))
    assert str(refusal.value).startswith(
        f"raw.parquet: column 'events', row 16: token {token!r} is not"
    )


def test_bytes_that_are_no_text_are_refused_like_any_bad_token() -> None:
    buffers = [None, pa.py_buffer(np.array([0, 1, 4], np.int32)), pa.py_buffer(b"5\xff,1")]
    text = pa.Array.from_buffers(pa.string(), 2, buffers)
    with pytest.raises(UserError, match="row 1: token"):
        parse_sequences(text, "e", "f", np.arange(2), np.arange(2))


def test_empty_history_stays_an_empty_row() -> None:
    ragged = parse(["7,8", "", None, "9", ""])
    assert ragged.offsets.tolist() == [0, 2, 2, 2, 3, 3]
    assert ragged.lengths.tolist() == [2, 0, 0, 1, 0]
    assert len(ragged) == 5


LISTS = st.lists(st.lists(st.integers(0, 999), max_size=5), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(lists=LISTS, data=st.data(), newest=st.none() | st.integers(0, 7))
def test_taking_rows_keeps_the_newest_values_in_order(
    lists: list[list[int]], data: st.DataObject, newest: int | None
) -> None:
    values = np.array([value for row in lists for value in row], np.uint16)
    ragged = Ragged(values, np.cumsum([0, *map(len, lists)]))
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10))
    taken = ragged.take(np.array(rows, np.int64), newest)
    keep = 99 if newest is None else newest
    assert as_lists(taken) == [lists[row][max(0, len(lists[row]) - keep) :] for row in rows]
    assert taken.values.dtype == np.uint16
