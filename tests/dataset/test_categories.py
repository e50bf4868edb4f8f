"""The code of a category: the same everywhere, and what it tells."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feseq.dataset.categories import ByCode, codes_of, is_number, tokens_of

WORDS = st.lists(st.text(max_size=8) | st.integers(0, 10**18 - 1).map(str), unique=True)


@given(WORDS)
def test_words_have_codes_of_their_own_and_numbers_can_be_read_back(words: list[str]) -> None:
    codes = codes_of(words)
    assert len(np.unique(np.append(codes, np.uint64(0)))) == len(words) + 1
    assert codes_of(words[::-1]).tolist() == codes[::-1].tolist()
    tokens = tokens_of(codes)
    assert len(np.unique(np.append(tokens, -1))) == len(words) + 1
    # No integer of a sequence is as large.
    expected = [int(w) if is_number(w) else t for w, t in zip(words, tokens.clip(10**18).tolist())]
    assert tokens.tolist() == expected
    assert tokens_of(np.zeros(1, np.uint64)).tolist() == [-1]


def test_a_code_is_fixed_as_files_keep_it() -> None:
    assert codes_of(["0", "12", "012", "", "일본"]).tolist() == [
        1,
        13,
        10291484856862268816,
        12467793378338378946,
        14475150507552910542,
    ]


@given(WORDS, WORDS)
def test_what_belongs_to_a_word_is_found_by_its_code(known: list[str], asked: list[str]) -> None:
    find = ByCode(known, np.arange(len(known)), missing=-1, other=-2)
    expected = [known.index(word) if word in known else -2 for word in asked]
    assert find(np.append(codes_of(asked), np.uint64(0))).tolist() == [*expected, -1]
