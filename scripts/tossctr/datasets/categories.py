"""The code of a category: a uint64 computed from its text, hence the same in all files.

0                      missing
1 + the number         the text of an integer with at most 18 digits, such as '12'
2^63 to 2^64 - 1       any other text: a hash. For a million texts, the probability of a collision
                       is 1 in 18 million.

The token of a category: an int64 for the category as an event of a sequence:

the number             the text of an integer
2^62 to 2^63 - 1       any other text: the lower 62 bits of its hash
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import xxhash

MISSING_CODE = 0
_HASHED = 1 << 63
_TEXT_TOKEN = np.uint64(1 << 62)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
# Booleans as pandas writes them to CSV, and the text that Arrow casts them to.
_BOOLEANS = {"True": "true", "False": "false"}


def is_number(word: str) -> bool:
    """True for the text of a non-negative integer with at most 18 digits and no leading 0."""
    return _NUMBER.fullmatch(word) is not None


def lowercase_booleans(words: Iterable[str]) -> list[str]:
    """The words, with True and False as true and false."""
    return [_BOOLEANS.get(word, word) for word in words]


def codes_of(words: Sequence[str]) -> np.ndarray:
    """The category code of each word, uint64 [words]: 1 + the number, or a hash of other texts.

    True and true have the same code, as do False and false.
    """
    codes = (
        1 + int(word) if is_number(word) else xxhash.xxh3_64_intdigest(word.encode()) | _HASHED
        for word in lowercase_booleans(words)
    )
    return np.fromiter(codes, np.uint64, len(words))


def tokens_of(codes: np.ndarray) -> np.ndarray:
    """For each category code, the token by which histories store the category; -1 if missing."""
    text = codes & (_TEXT_TOKEN - np.uint64(1)) | _TEXT_TOKEN
    return np.where(codes < _HASHED, codes.astype(np.int64) - 1, text.astype(np.int64))


def words_by_token(words: Sequence[str]) -> dict[int, str]:
    """Map each word's token, the number by which histories store it, to the word."""
    return dict(zip(tokens_of(codes_of(words)).tolist(), words))


class CategoryLookup:
    """Maps category codes to numbers: the code of the word `words[i]` to `values[i]`.

    The code of a missing value is mapped to `missing`, and the code of any other word to `other`.
    """

    def __init__(
        self, words: Sequence[str], values: np.ndarray, *, missing: int, other: int
    ) -> None:
        codes = np.concatenate([[np.uint64(MISSING_CODE)], codes_of(words)])
        order = np.argsort(codes)
        self._codes = codes[order]
        self._values = np.concatenate([[missing], values])[order]
        self._other = other

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """The number that each code is mapped to, int64."""
        index = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        return np.where(self._codes[index] == codes, self._values[index], self._other)


def most_frequent(count: np.ndarray, limit: int) -> np.ndarray:
    """The indices of the `limit` highest counts above 0, by descending count, then by index."""
    order = np.argsort(-count, kind="stable")[:limit]
    return order[count[order] > 0]
