"""Train rows that get an unknown category: as many as asked, and the same ones each time."""

import numpy as np
import pytest

from feseq.boosting.features import with_unknown
from feseq.dataset.feature_map import MISSING, OUT_OF_VOCABULARY

ROWS = 40_000


def test_known_categories_are_drawn_as_unknown_at_their_share() -> None:
    random = np.random.default_rng(0)
    categories, row = random.integers(3, 50, (ROWS, 3)), random.permutation(ROWS)
    categories[random.random(ROWS) < 0.2, 1] = MISSING
    share = np.array([0.25, 0.4, 0])
    drawn = with_unknown(categories, row, share)
    is_new = drawn == OUT_OF_VOCABULARY
    assert is_new.mean(axis=0).tolist() == pytest.approx([0.25, 0.8 * 0.4, 0], abs=0.01)
    np.testing.assert_array_equal(drawn[~is_new], categories[~is_new])
    # The same rows, in whatever order.
    np.testing.assert_array_equal(with_unknown(categories[::-1], row[::-1], share)[::-1], drawn)
    # The columns' draws are independent of each other, and of the folds.
    assert abs(np.corrcoef(is_new[:, 0], is_new[:, 1])[0, 1]) < 0.02
    assert abs(np.corrcoef(is_new[:, 0], row % 5 == 0)[0, 1]) < 0.02
