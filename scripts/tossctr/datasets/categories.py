"""The code of a category: a number that depends on its text alone, so it is equal in all files.

0                      missing
1 + the number         a whole number as text, of at most 18 digits, such as '12'
2^63 to 2^64 - 1       any other text: its hash. Among a million texts, two hashes are equal with
                       probability 1 in 10 million.

The token of a category, by which sequences store it as an event, in int64:

the number             a whole number as text
2^62 to 2^63 - 1       any other text: the lower 62 bits of its hash
"""

import re
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import xxhash

MISSING_CODE = 0
_HASHED = 1 << 63
_TEXT_TOKEN = np.uint64(1 << 62)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
# Booleans as pandas writes them to CSV files, and as Arrow casts them to text.
_BOOLEANS = {"True": "true", "False": "false"}


def is_number(word: str) -> bool:
    """True for a text that can also be an event of a sequence of integers."""
    return _NUMBER.fullmatch(word) is not None


def plain_words(words: Iterable[str]) -> list[str]:
    """The words, with booleans spelled alike for all file formats."""
    return [_BOOLEANS.get(word, word) for word in words]


def codes_of(words: Sequence[str]) -> np.ndarray:
    """The code of each word, uint64 [words]; words equal after `plain_words` have equal codes."""
    codes = (
        1 + int(word) if is_number(word) else xxhash.xxh3_64_intdigest(word.encode()) | _HASHED
        for word in plain_words(words)
    )
    return np.fromiter(codes, np.uint64, len(words))


def tokens_of(codes: np.ndarray) -> np.ndarray:
    """The token of each category code, int64; -1 for missing."""
    text = codes & (_TEXT_TOKEN - np.uint64(1)) | _TEXT_TOKEN
    return np.where(codes < _HASHED, codes.astype(np.int64) - 1, text.astype(np.int64))


def words_by_token(words: Sequence[str]) -> dict[int, str]:
    """The words by token, in the order of `words`."""
    return dict(zip(tokens_of(codes_of(words)).tolist(), words))


class CategoryLookup:
    """Maps the words' codes to `values` [words], missing to `missing`, all others to `other`."""

    def __init__(
        self, words: Sequence[str], values: np.ndarray, *, missing: int, other: int
    ) -> None:
        codes = np.concatenate([[np.uint64(MISSING_CODE)], codes_of(words)])
        order = np.argsort(codes)
        self._codes = codes[order]
        self._values = np.concatenate([[missing], values])[order]
        self._other = other

    @classmethod
    def indices(cls, words: Sequence[str]) -> Self:
        """Maps codes to the words' indices, from 1 on; missing and other codes to 0."""
        return cls(words, np.arange(1, len(words) + 1), missing=0, other=0)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """The value of each code, int64."""
        index = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        return np.where(self._codes[index] == codes, self._values[index], self._other)


def commonest(count: np.ndarray, most: int) -> np.ndarray:
    """At most `most` codes that occur, the commonest first; ties go to the lower code."""
    order = np.argsort(-count, kind="stable")[:most]
    return order[count[order] > 0]
