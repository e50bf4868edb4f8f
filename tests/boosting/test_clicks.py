"""Target encoding beside plain loops, and that no row's encoding tells of its own label."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from feseq.boosting import clicks
from feseq.boosting.clicks import ClickCounts, Places, fold_of, group_of, mean_over_newest
from feseq.common.ragged import Ragged
from support.raw_tables import as_lists, ragged

FOLDS = 4


def some_rows(rows: int = 300) -> tuple[np.ndarray, Ragged, np.ndarray, np.ndarray]:
    """Folds, histories of up to 12 of 7 tokens, targets of 3, labels."""
    random = np.random.default_rng(1)
    lists = [random.integers(0, 7, random.integers(0, 13)).tolist() for _ in range(rows)]
    histories = Ragged(ragged(lists).values.astype(np.int64), ragged(lists).offsets)
    label = (random.random(rows) < 0.3).astype(np.int64)
    return fold_of(np.arange(rows), FOLDS), histories, random.integers(0, 3, rows), label


def counted(places: Places) -> tuple[ClickCounts, np.ndarray, Ragged, np.ndarray, np.ndarray]:
    rows = some_rows()
    counts = ClickCounts(FOLDS, places)
    counts.add(*rows)
    return counts, *rows


def test_log_odds_are_those_of_a_plain_count_over_the_other_folds() -> None:
    counts, fold, histories, target, label = counted(Places(3, 7))
    events = [
        (f, 7 * t + token, y)
        for f, tokens, t, y in zip(fold, as_lists(histories), target, label)
        for token in tokens
    ]
    all_clicks = sum(y for *_, y in events)
    rate = (all_clicks + 0.5) / (len(events) + 1)
    added = 5 / (rate * (1 - rate))
    for out in (0, 3):
        for place in (0, 10, 20):
            seen = [y for f, p, y in events if f != out and p == place]
            odds = (sum(seen) + added * rate) / (len(seen) - sum(seen) + added * (1 - rate))
            expected = np.log(odds) - np.log(rate / (1 - rate))
            assert counts.out_of_fold(5)[out, place] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    total = [y for _, p, y in events if p == 10]
    odds = (sum(total) + added * rate) / (len(total) - sum(total) + added * (1 - rate))
    expected = np.log(odds) - np.log(rate / (1 - rate))
    assert counts.of_all(5)[0, 10] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("most", [2**20, 16])
def test_means_over_the_newest_are_those_of_a_plain_loop(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, fold, histories, target, _ = counted(Places(3, 7))
    table = counts.out_of_fold(5)
    found = mean_over_newest(table, counts.places, fold, histories, target, np.array([1, 4, 99]))
    for row, tokens in enumerate(as_lists(histories)):
        values = [table[fold[row], 7 * target[row] + token] for token in reversed(tokens)]
        expected = [np.mean(values[:n]) if values else np.nan for n in (1, 4, 99)]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-7)


def test_too_many_pairs_share_places_and_keep_their_counts() -> None:
    places = Places(1 << 12, 1 << 12)
    counts = ClickCounts(1, places)
    random = np.random.default_rng(0)
    tokens, target = random.integers(0, 1 << 12, (2, 20_000))
    rows = Ragged(tokens, np.arange(20_001))
    label = np.ones(20_000, np.int64)
    counts.add(np.zeros(20_000, np.int64), rows, target, label)
    assert counts.seen.shape == (1, clicks._MOST_PLACES)
    assert counts.seen.sum() == counts.clicks.sum() == 20_000
    # As many as so many balls in so many boxes leave alone.
    assert (counts.seen > 0).sum() > 19_600


def test_an_id_of_its_own_in_each_row_tells_nothing_of_a_random_label() -> None:
    random = np.random.default_rng(2)
    rows = 20_000
    label = (random.random(rows) < 0.1).astype(np.int64)
    fold = fold_of(np.arange(rows), 5)
    for ids in (np.arange(rows), np.arange(rows) // 3):
        places = Places(1, rows)
        counts, nothing = ClickCounts(5, places), np.zeros(rows, np.int64)
        each = Ragged(ids, np.arange(rows + 1))
        counts.add(fold, each, nothing, label)
        value = mean_over_newest(counts.out_of_fold(1), places, fold, each, nothing, np.array([1]))[
            :, 0
        ]
        assert abs(roc_auc_score(label, value) - 0.5) < 0.02
        # With its own label each row would give itself away.
        given_away = counts.of_all(1)[0, ids]
        assert roc_auc_score(label, given_away) > 0.9


def test_folds_and_groups_are_even_and_the_same_in_each_run() -> None:
    fold = fold_of(np.arange(100_000), 5)
    assert np.bincount(fold) == pytest.approx([20_000] * 5, rel=0.03)
    assert fold[:8].tolist() == fold_of(np.arange(8), 5).tolist()
    assert np.bincount(group_of(np.arange(100_000), 7)) == pytest.approx([100_000 / 7] * 7, rel=0.1)
