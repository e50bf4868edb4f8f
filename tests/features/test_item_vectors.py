"""Vectors of items, beside NumPy and by properties."""

import numpy as np
import pytest

from feseq.features import item_vectors
from feseq.features.item_vectors import ItemVectors, Together, commonest, similarities
from support.raw_tables import ragged

ITEMS, CLUSTERS = 24, 3


def histories(rows: int, seed: int = 0) -> list[list[int]]:
    """Each row's events are of one cluster, 3 + its number and every third code from there."""
    rng = np.random.default_rng(seed)
    cluster, lengths = rng.integers(0, CLUSTERS, rows), rng.integers(0, 9, rows)
    return [
        (3 + c + CLUSTERS * rng.integers(0, ITEMS // CLUSTERS, n)).tolist()
        for c, n in zip(cluster, lengths)
    ]


def together(rows: list[list[int]], fold: np.ndarray, folds: int) -> Together:
    counts = Together(np.arange(3, 3 + ITEMS), 3 + ITEMS, folds)
    counts.add(fold, ragged(rows))
    return counts


def test_items_of_a_cluster_are_near_each_other() -> None:
    rows = histories(2_000)
    items = together(rows, np.zeros(len(rows), np.int64), 1).of_all()
    vectors = items.vectors[0][items.place]
    cosine = vectors[3:] @ vectors[3:].T
    cluster = np.arange(ITEMS) % CLUSTERS
    is_near = cluster[:, None] == cluster
    assert cosine[is_near].min() > 0.3 > 0.1 > np.abs(cosine[~is_near]).max()
    assert not vectors[:3].any()


def test_a_fold_has_vectors_of_other_rows_and_a_period_of_older_ones() -> None:
    rows, fold = histories(600), np.random.default_rng(1).integers(0, 3, 600)
    counts = together(rows, fold, 3)
    for number in range(3):
        for vectors, is_counted in (
            (counts.of_other_folds(), fold != number),
            (counts.of_older(), fold < number),
        ):
            some = [row for row, counted in zip(rows, is_counted) if counted]
            alone = together(some, np.zeros(len(some), np.int64), 1)
            assert np.array_equal(vectors.vectors[number], alone.of_all().vectors[0])


def test_an_item_that_stands_with_none_has_no_vector() -> None:
    rows = [*histories(300), [3 + ITEMS], [3 + ITEMS]]
    counts = Together(np.arange(3, 8 + ITEMS), 8 + ITEMS, 1)
    counts.add(np.zeros(len(rows), np.int64), ragged(rows))
    items = counts.of_all()
    assert not items.vectors[0][items.place[3 + ITEMS :]].any()
    assert np.linalg.norm(items.vectors[0][items.place[3 : 3 + ITEMS]], axis=1).min() > 0.99


@pytest.mark.parametrize("window", [1, 4])
def test_pairs_are_counted_within_the_window(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    rows = [[5, 4, 5, 9, 4, 4], [], [7], [4, 5]]
    monkeypatch.setattr(item_vectors, "WINDOW", window)
    item_vectors._count.recompile()
    counts = Together(np.array([4, 5]), 10, 1)
    counts.add(np.zeros(len(rows), np.int64), ragged(rows))
    expected = np.zeros((2, 2))
    for row in rows:
        for i, one in enumerate(row):
            for two in row[i + 1 : i + 1 + window]:
                if one != two and {one, two} <= {4, 5}:
                    expected[one - 4, two - 4] += 1
    monkeypatch.undo()
    item_vectors._count.recompile()
    assert (counts.counts[0] == expected).all()


def test_similarities_are_cosines() -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 9, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    vectors[:, :4] = 0
    rows = [[4, 5, 8], [6, 2], [], [3, 1], [7, 7]]
    fold, target = np.array([0, 1, 0, 1, 1]), np.array([8, 5, 4, 4, 2])
    items = ItemVectors(np.arange(9, dtype=np.int32), vectors)
    cosines_of = similarities(items, fold, ragged(rows), target)
    for row, f, t, values in zip(rows, fold, target, cosines_of):
        events = [vectors[f, code] for code in row if code >= 4]
        if not events or t < 4:
            assert np.isnan(values).all()
            continue
        mean, item = np.mean(events, axis=0), vectors[f, t]
        cosines = [event @ item for event in events]
        expected = [mean @ item / np.linalg.norm(mean), cosines[-1], max(cosines)]
        assert values == pytest.approx(expected, abs=1e-6)


def test_the_commonest_codes_have_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_vectors, "MOST_CODES", 3)
    assert commonest(np.array([0, 5, 1, 5, 9, 0, 5])).tolist() == [1, 3, 4]
    assert commonest(np.array([0, 2, 0])).tolist() == [1]
