"""Raw values: the parser of sequences and the codes of categories, beside plain loops."""

from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.raw_tables import as_lists, split_events
from tossctr.common.errors import UserError
from tossctr.config.columns import SEPARATORS
from tossctr.datasets.categories import codes_of, tokens_of
from tossctr.datasets.raw_values import NO_TEXT, parse_sequences

Texts = list[str | None]
STRINGS = pa.list_(pa.string())
TOKENS = st.integers(0, 9999) | st.integers(0, 10**18 - 1)
TEXT = st.none() | st.lists(TOKENS.map(str), max_size=30).map(",".join)


@st.composite
def columns_of(draw: st.DrawFn, texts: Texts) -> pa.Array:
    """`texts` as a column of any type that holds text, perhaps a part of a longer one."""
    kind = draw(st.sampled_from([pa.string(), pa.large_string()]))
    around = st.lists(st.sampled_from(["1,2", "no number", "", None]), max_size=3)
    before, after = draw(around), draw(around)
    return pa.array([*before, *texts, *after], kind).slice(len(before), len(texts))


@st.composite
def lists_of(draw: st.DrawFn, texts: Texts) -> pa.Array:
    """The tokens of `texts` as a column of lists, a part of a longer one."""
    kind = draw(st.sampled_from([pa.list_(pa.int64()), pa.large_list(pa.uint64()), STRINGS]))
    token = str if kind == STRINGS else int
    lists = [
        None if text is None else [token(part) for part in text.split(",") if part]
        for text in ("1,2", *texts, None, "3")
    ]
    return pa.array(lists, kind).slice(1, len(texts))


@given(texts=st.lists(TEXT, max_size=12), data=st.data())
def test_any_text_of_integers_is_parsed_as_by_a_plain_loop(
    texts: Texts, data: st.DataObject
) -> None:
    separator = data.draw(st.sampled_from(SEPARATORS))
    written = [text and text.replace(",", separator) for text in texts]
    column, rows = data.draw(columns_of(written) | lists_of(texts)), np.arange(len(texts))
    parsed, words = parse_sequences(
        column, "events", "raw.parquet", rows, times=data.draw(st.booleans()), separator=separator
    )
    assert words == []
    expected = [split_events(text) for text in texts]
    assert as_lists(parsed) == expected
    assert parsed.values.dtype == np.min_scalar_type(
        max(map(max, filter(None, expected)), default=0)
    )


# Whatever can stand in text, integers among them, and what a list alone may hold.
WORDS = st.text(min_size=1, max_size=5).filter(lambda w: not NO_TEXT.search(w))
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(data=st.data(), is_list=st.booleans())
def test_any_token_is_an_integer_or_the_token_of_its_word_as_a_category(
    data: st.DataObject, is_list: bool
) -> None:
    token = st.one_of(st.sampled_from(["7", "12", "007", "a12"]), ANY if is_list else WORDS)
    tokens = data.draw(st.lists(st.none() | st.lists(token, max_size=6), min_size=1, max_size=8))
    separator = data.draw(st.sampled_from(SEPARATORS))
    texts = [None if row is None else separator.join(row) for row in tokens]
    column = pa.array(tokens, STRINGS) if is_list else data.draw(columns_of(texts))
    rows = np.arange(len(tokens))
    parsed, words = parse_sequences(column, "events", "raw.parquet", rows, separator=separator)

    def is_integer(word: str) -> bool:
        return word.isascii() and word.isdigit() and len(word) <= 18 and str(int(word)) == word

    expected = [row or [] for row in tokens]
    assert as_lists(parsed) == [
        [int(w) if is_integer(w) else int(tokens_of(codes_of([w]))[0]) for w in row]
        for row in expected
    ]
    assert sorted(words) == sorted({w for w in chain(*expected) if not is_integer(w)})


INTEGERS, WORDY = ["1", "2,3", None], ["a", "b,c", None]


@pytest.mark.parametrize(
    ("column", "times", "token"),
    [
        (pa.array([[1, 2], None, [], [3, -4], [-5]]), True, "'-4'"),
        (pa.array([[1, 2], None, [], [3, None], [None]]), True, "None"),
        (pa.array([["1", "2"], None, [], ["3", "4,5"], ["x"]]), True, "'4,5'"),
        (pa.array([*INTEGERS, "4,٣", ""]), True, "'٣'"),
        (pa.array([*INTEGERS, f"4,{10**18}", ""]), True, f"'{10**18}'"),
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
