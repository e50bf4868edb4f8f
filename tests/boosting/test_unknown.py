"""Train rows that get an unknown category: how many, which, and the same ones each time."""

import numpy as np
import pytest

from feseq.boosting.unknown import UnknownCount, with_unknown
from feseq.dataset.feature_map import MISSING, OUT_OF_VOCABULARY

ROWS = 40_000


@pytest.fixture(scope="module")
def categories() -> np.ndarray:
    """Three columns: all known; a tenth unknown and a fifth missing; all but a few missing."""
    random = np.random.default_rng(0)
    known = random.integers(3, 50, (ROWS, 3))
    draw = random.random(ROWS)
    known[:, 1] = np.where(draw < 0.1, OUT_OF_VOCABULARY, known[:, 1])
    known[:, 1] = np.where(draw > 0.8, MISSING, known[:, 1])
    known[5:, 2] = MISSING
    return known


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, {"a": 0, "b": 0.1, "c": 0}),
        ({"a": 0.25, "b": 0.05}, {"a": 0.25, "b": 0.1, "c": 0}),
        ({"a": 1, "b": 0.4, "c": 0.5}, {"a": 1, "b": 0.4, "c": 5 / ROWS}),
    ],
)
def test_rows_have_as_many_unknown_categories_as_wanted(
    categories: np.ndarray, wanted: dict[str, float], found: dict[str, float]
) -> None:
    count = UnknownCount("abc")
    for part in np.array_split(categories, 7):
        count.add(part)
    row = np.random.default_rng(1).permutation(ROWS)
    drawn = with_unknown(categories, row, count.to_draw(wanted))
    shares = (drawn == OUT_OF_VOCABULARY).mean(axis=0)
    assert shares.tolist() == pytest.approx(list(found.values()), abs=0.01)
    np.testing.assert_array_equal(drawn[categories == MISSING], MISSING)
    # The same rows, in whatever order.
    share = count.to_draw(wanted)
    np.testing.assert_array_equal(with_unknown(categories[::-1], row[::-1], share)[::-1], drawn)
    # The columns' draws are independent of each other, and of the folds.
    is_new = drawn == OUT_OF_VOCABULARY
    if 0 < wanted.get("a", 0) < 1:
        assert abs(np.corrcoef(is_new[:, 0], is_new[:, 1])[0, 1]) < 0.02
        assert abs(np.corrcoef(is_new[:, 0], row % 5 == 0)[0, 1]) < 0.02
