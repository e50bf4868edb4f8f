"""Statistics of histories as a plain loop counts them."""

from collections import Counter

import numpy as np
import pytest

from feseq.common.ragged import Ragged
from feseq.dataset.history_statistics import NAMES, history_statistics
from support.raw_tables import ragged


def plain(history: list[int], target: int) -> list[float]:
    counts = Counter(history)
    shares = [n / len(history) for n in counts.values()]
    entropy = -sum(share * np.log(share) for share in shares)
    back = history[::-1]
    recency = 1 / (1 + back.index(target)) if target in counts else 0
    newest = back[0] if back else 0
    return [len(history), len(counts), entropy, counts[target], recency, newest]


def test_they_are_those_of_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(0, 9, random.integers(0, 30)).tolist() for _ in range(200)] + [[]]
    target = random.integers(0, 9, len(rows))
    expected = [plain(row, code) for row, code in zip(rows, target.tolist())]
    np.testing.assert_allclose(history_statistics(ragged(rows), target), expected, rtol=1e-6)


def test_without_targets_no_event_has_the_target_s_code() -> None:
    found = history_statistics(ragged([[7, 8, 7], []]))
    assert found[0] == pytest.approx([3, 2, 0.63651, 0, 0, 7], rel=1e-4)
    assert found[1].tolist() == [0] * len(NAMES)


def test_no_rows_give_no_rows() -> None:
    empty = Ragged(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    assert history_statistics(empty).shape == (0, len(NAMES))
