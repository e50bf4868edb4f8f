"""Labels of clicks as numbers: numbers, booleans, or text in one of a few pairs of words."""

import pyarrow as pa
import pyarrow.compute as pc

from .types import type_name

# What is a click, and what is none; upper and lower case are the same, blanks around do not count.
PAIRS = (("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"))


def pair_of(labels: pa.Array) -> tuple[str, str] | None:
    """The pair that the first label which is not missing is of; None if it is no such word."""
    if type_name(labels.type) != "text":
        return None
    word = _plain(pc.drop_null(labels)[:1])
    return next((pair for pair in PAIRS if pc.any(_place(word, pair).is_valid()).as_py()), None)


def as_numbers(labels: pa.Array, pair: tuple[str, str] | None) -> pa.Array:
    """The labels as 1 and 0 by the pair, null for other texts; without a pair as they are."""
    if pair is None:
        return labels
    return pc.subtract(pa.scalar(1, pa.int32()), _place(_plain(labels), pair))


def _plain(texts: pa.Array) -> pa.Array:
    return pc.ascii_lower(pc.ascii_trim_whitespace(texts))


def _place(texts: pa.Array, pair: tuple[str, str]) -> pa.Array:
    return pc.index_in(texts, value_set=pa.array(pair, texts.type))
