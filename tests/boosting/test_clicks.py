"""Target encoding beside plain loops, and that no row's encoding tells of its own label."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from feseq.boosting import clicks
from feseq.boosting.clicks import (
    FOLDS,
    ClickCounts,
    Places,
    hashed_below,
    mean_over_newest,
)
from feseq.common.ragged import Ragged
from support.raw_tables import as_lists, ragged

Rows = tuple[np.ndarray, Ragged, np.ndarray, np.ndarray]


def some_rows(rows: int = 300) -> Rows:
    """Folds, histories of up to 12 of 7 tokens, targets of 3, labels."""
    random = np.random.default_rng(1)
    lists = [random.integers(0, 7, random.integers(0, 13)).tolist() for _ in range(rows)]
    histories = Ragged(ragged(lists).values.astype(np.int64), ragged(lists).offsets)
    label = (random.random(rows) < 0.3).astype(np.int64)
    return hashed_below(np.arange(rows), FOLDS), histories, random.integers(0, 3, rows), label


def counted(places: Places, rows: Rows) -> ClickCounts:
    counts = ClickCounts(places, FOLDS)
    counts.add(*rows)
    return counts


def test_log_odds_are_those_of_a_plain_count_over_other_or_older_folds() -> None:
    rows = some_rows()
    counts = counted(Places(3, 7), rows)
    fold, histories, target, label = rows
    events = [
        (f, 7 * t + token, y)
        for f, tokens, t, y in zip(fold, as_lists(histories), target, label)
        for token in tokens
    ]
    rate = (sum(y for *_, y in events) + 0.5) / (len(events) + 1)
    added = counts.more
    own, older = counts.out_of_fold(), counts.of_older()
    cases = [({*range(FOLDS)}, counts.of_all()[0]), (set(), older[0])]
    for number in (1, 3, 4):
        cases += [({*range(FOLDS)} - {number}, own[number]), ({*range(number)}, older[number])]
    for counting, found in cases:
        for place in (0, 10, 20):
            seen = [y for f, p, y in events if f in counting and p == place]
            odds = (sum(seen) + added * rate) / (len(seen) - sum(seen) + added * (1 - rate))
            expected = np.log(odds) - np.log(rate / (1 - rate))
            assert found[place] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("rate", "more", "places", "rows"), [(0.3, 20, 300, 40), (0.02, 200, 2000, 100)]
)
def test_places_get_as_many_occurrences_as_their_rates_are_alike(
    rate: float, more: float, places: int, rows: int
) -> None:
    random = np.random.default_rng(0)
    ids = np.repeat(np.arange(places), rows)
    each, nothing = Ragged(ids, np.arange(len(ids) + 1)), np.zeros(len(ids), np.int64)
    fold = random.integers(0, FOLDS, len(ids))
    # By definition, a beta prior is worth that many occurrences.
    chance = random.beta(rate * more, (1 - rate) * more, places)[ids]
    chances = np.stack([chance, np.full(len(ids), rate), fold / 20])
    label = (random.random(chances.shape) < chances).astype(np.int64)
    of_places, of_none, of_folds = (
        counted(Places(1, places), (fold, each, nothing, clicked)).more for clicked in label
    )
    assert of_places == pytest.approx(more, rel=0.4)
    # The others are of one rate, in all rows or in each fold.
    assert min(of_none, of_folds) > 5 * more


def test_means_over_the_newest_are_those_of_a_plain_loop() -> None:
    rows = some_rows()
    counts = counted(Places(3, 7), rows)
    fold, histories, target, _ = rows
    table = counts.out_of_fold()
    found = mean_over_newest(table, counts.places, fold, histories, target, np.array([1, 4, 99]))
    for row, tokens in enumerate(as_lists(histories)):
        values = [table[fold[row], 7 * target[row] + token] for token in reversed(tokens)]
        expected = [np.mean(values[:n]) if values else np.nan for n in (1, 4, 99)]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-7)


def test_too_many_pairs_share_places_and_keep_their_counts() -> None:
    tokens, target = np.random.default_rng(0).integers(0, 1 << 12, (2, 20_000))
    ones, zeros = np.ones(20_000, np.int64), np.zeros(20_000, np.int64)
    rows = zeros, Ragged(tokens, np.arange(20_001)), target, ones
    counts = counted(Places(1 << 12, 1 << 12), rows)
    assert counts.seen.shape == (FOLDS, clicks._MOST_PLACES)
    assert counts.seen.sum() == counts.clicks.sum() == 20_000
    # As many as so many balls in so many boxes leave alone.
    assert (counts.seen > 0).sum() > 19_600


def test_an_id_of_its_own_in_each_row_tells_nothing_of_a_random_label() -> None:
    rows = 20_000
    label = (np.random.default_rng(2).random(rows) < 0.1).astype(np.int64)
    fold, nothing = hashed_below(np.arange(rows), FOLDS), np.zeros(rows, np.int64)
    assert np.bincount(fold) == pytest.approx([rows / FOLDS] * FOLDS, rel=0.05)
    for ids in (np.arange(rows), np.arange(rows) // 3):
        places, each = Places(1, rows), Ragged(ids, np.arange(rows + 1))
        counts = counted(places, (fold, each, nothing, label))
        windows = np.array([1])
        for table in (counts.out_of_fold(), counts.of_older()):
            value = mean_over_newest(table, places, fold, each, nothing, windows)
            assert abs(roc_auc_score(label, value[:, 0]) - 0.5) < 0.02
        # With its own label each row would give itself away.
        assert roc_auc_score(label, counts.of_all()[0, ids]) > 0.9
