"""Raw values: the parser of sequences and the codes of categories, beside plain loops."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.raw_tables import as_lists
from tossctr.common.errors import UserError
from tossctr.config.columns import SEPARATORS
from tossctr.datasets.categories import codes_of, plain_words, tokens_of
from tossctr.datasets.raw_values import NO_TEXT, parse_sequences

NUMBERS = (st.integers(0, 9999) | st.integers(0, 10**18 - 1)).map(str)
# What can stand in text, and what a list alone may hold.
WORDS = st.text(min_size=1, max_size=5).filter(lambda w: not NO_TEXT.search(w))
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
LOOKALIKES = st.sampled_from(["7", "12", "007", "a12"])
# The type of a column, and the tokens that it may hold.
COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[str]]] = [
    *((text, NUMBERS) for text in (pa.string(), pa.large_string())),
    *((text, LOOKALIKES | WORDS) for text in (pa.string(), pa.large_string())),
    (pa.list_(pa.string()), LOOKALIKES | ANY),
    *((integers, NUMBERS) for integers in (pa.list_(pa.int64()), pa.large_list(pa.uint64()))),
]


@pytest.mark.parametrize(("kind", "tokens"), COLUMNS)
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
    assert {*words} == {*plain_words(texts)}
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
    # Of several, the first is told.
    with pytest.raises(UserError) as refusal:
        parse_sequences(column, "events", "raw.parquet", rows, times=times)
    assert f"raw.parquet: column 'events', row 16: token {token}" in str(refusal.value)
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
