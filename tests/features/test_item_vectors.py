"""Vectors of items, beside NumPy and by properties."""

import numpy as np
import pytest

from support.raw_tables import ragged
from tossctr.datasets.categories import commonest
from tossctr.features import co_occurrence
from tossctr.features.co_occurrence import CoOccurrences, are_cut, reduced

ITEMS, CLUSTERS = 24, 3


def histories(rows: int, seed: int = 0) -> list[list[int]]:
    """Each row's events are of one cluster, 3 + its number and every third code from there."""
    rng = np.random.default_rng(seed)
    cluster, lengths = rng.integers(0, CLUSTERS, rows), rng.integers(0, 9, rows)
    return [
        (3 + c + CLUSTERS * rng.integers(0, ITEMS // CLUSTERS, n)).tolist()
        for c, n in zip(cluster, lengths)
    ]


def co_occurrences(rows: list[list[int]], fold: np.ndarray, folds: int) -> CoOccurrences:
    counts = CoOccurrences(np.arange(3, 3 + ITEMS), 3 + ITEMS, folds)
    counts.add(fold, ragged(rows))
    return counts


def test_items_of_a_cluster_are_near_each_other() -> None:
    rows = histories(2_000)
    vectors = reduced(co_occurrences(rows, np.zeros(len(rows), np.int64), 1).counts[0])
    cosine = vectors @ vectors.T
    cluster = np.arange(ITEMS) % CLUSTERS
    is_near = cluster[:, None] == cluster
    assert cosine[is_near].min() > 0.3 > 0.1 > np.abs(cosine[~is_near]).max()


def test_rows_of_one_fold_give_no_vectors() -> None:
    rows = histories(100)
    assert co_occurrences(rows, np.full(100, 2), 4).vectors("events", "history") is None


def test_an_item_that_co_occurs_with_none_has_no_vector() -> None:
    rows = [*histories(300), [3 + ITEMS], [3 + ITEMS]]
    counts = CoOccurrences(np.arange(3, 8 + ITEMS), 8 + ITEMS, 1)
    counts.add(np.zeros(len(rows), np.int64), ragged(rows))
    vectors = reduced(counts.counts[0])
    assert not vectors[ITEMS:].any()
    assert np.linalg.norm(vectors[:ITEMS], axis=1).min() > 0.99


@pytest.mark.parametrize("window", [1, 4])
def test_pairs_are_counted_within_the_window(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    rows = [[5, 4, 5, 9, 4, 4], [], [7], [4, 5]]
    monkeypatch.setattr(co_occurrence, "WINDOW", window)
    co_occurrence._count.recompile()
    counts = CoOccurrences(np.array([4, 5]), 10, 1)
    counts.add(np.zeros(len(rows), np.int64), ragged(rows))
    expected = np.zeros((2, 2))
    for row in rows:
        for i, one in enumerate(row):
            for two in row[i + 1 : i + 1 + window]:
                if one != two and {one, two} <= {4, 5}:
                    expected[one - 4, two - 4] += 1
    monkeypatch.undo()
    co_occurrence._count.recompile()
    assert (counts.counts[0] == expected).all()


@pytest.mark.parametrize("newest", [2, 5, 10, None])
def test_histories_are_cut_if_their_lengths_pile_up(newest: int | None) -> None:
    rng = np.random.default_rng(0)
    # Each user's rows are as many, so that as many histories have each length.
    grown = np.tile(np.arange(12), 50)
    for lengths in (grown, rng.poisson(12, 5_000), rng.geometric(0.1, 5_000)):
        assert are_cut(np.minimum(lengths, newest or 1_000)) == (newest is not None)
    assert not are_cut(np.zeros(5_000, int))


def test_the_commonest_codes_that_occur_are_taken() -> None:
    assert commonest(np.array([0, 5, 1, 5, 9, 0, 5]), 3).tolist() == [4, 1, 3]
    assert commonest(np.array([0, 2, 0]), 3).tolist() == [1]
