"""The simulated stand-in: its files, its days and its users."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feseq.common.errors import UserError
from feseq.raw.simulation import (
    drawn_users,
)
from feseq.raw.simulation.statistics import (
    load_statistics,
)
from support.simulated import (
    ROWS,
    SEED,
    TEST_ROWS,
    Simulated,
    simulate,
)


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_train_file_has_the_columns_and_types_of_the_real_one(simulated: Simulated) -> None:
    schema = simulated.train.schema
    assert schema.names == load_statistics()["column_order"]
    assert len(schema.names) == 119
    texts = {"gender", "age_group", "inventory_id", "day_of_week", "hour", "seq"}
    assert {field.name for field in schema if field.type == pa.string()} == texts
    assert {field.name for field in schema if field.type == pa.int64()} == {"clicked"}
    assert sum(field.type == pa.float32() for field in schema) == 75 + 37
    assert set(simulated.train["clicked"].unique().to_pylist()) == {0, 1}


def test_test_file_has_ids_first_and_no_label(simulated: Simulated) -> None:
    names = simulated.test.schema.names
    assert names == ["ID", *(n for n in simulated.train.schema.names if n != "clicked")]
    identifiers = simulated.test["ID"].to_pylist()
    assert identifiers == [f"TEST_{row:07d}" for row in range(TEST_ROWS)]


def test_truth_lies_apart_in_row_order(simulated: Simulated) -> None:
    probabilities = ["probability", "probability_of_new_user"]
    assert simulated.train_truth.schema.names == ["row", *probabilities]
    assert simulated.train_truth["row"].to_pylist() == list(range(ROWS))
    assert simulated.test_truth.schema.names == ["ID", *probabilities]
    assert simulated.test_truth["ID"].equals(simulated.test["ID"])


def test_train_days_have_as_many_rows_without_a_click_and_their_click_rates(
    simulated: Simulated,
) -> None:
    day = np.array(simulated.train["day_of_week"].to_pylist())
    clicked = simulated.train["clicked"].to_numpy()
    assert list(day) == sorted(day)
    others = np.array([(clicked[day == name] == 0).sum() for name in "1234567"])
    np.testing.assert_allclose(others, (clicked == 0).sum() / 7, rtol=0.01)
    probability = simulated.train_truth["probability"].to_numpy()
    rates = load_statistics()["categories"]["day_of_week"]["click_rate"]
    found = [probability[day == name].mean() for name in rates]
    np.testing.assert_allclose(found, list(rates.values()), rtol=0.2)
    assert 1.15 < max(found) / min(found) < 1.5


def test_the_test_rows_are_of_the_day_after_which_is_called_day_7(simulated: Simulated) -> None:
    assert simulated.test["day_of_week"].unique().to_pylist() == ["7"]


def test_users_come_back_with_the_same_sequence(simulated: Simulated) -> None:
    """Texts of ten events and more: shorter ones are equal by chance."""
    train, test = (
        np.array([text for text in table["seq"].to_pylist() if text.count(",") >= 9])
        for table in (simulated.train, simulated.test)
    )
    # 10,704,179 rows have 7,179,942 sequences.
    assert len(train) / len(np.unique(train)) == pytest.approx(1.491, abs=0.03)
    assert 1.1 < len(test) / len(np.unique(test)) < 1.3
    day = np.array(simulated.train["day_of_week"].to_pylist())
    is_long = np.array([text.count(",") >= 9 for text in simulated.train["seq"].to_pylist()])
    last = day[is_long] == "7"
    share_on_last_day = np.isin(train[last], train[~last]).mean()
    share_in_test = np.isin(test, train).mean()
    assert 0.1 < share_in_test < 0.2 < share_on_last_day < 0.4


def test_what_is_a_users_own_is_the_same_in_all_rows(simulated: Simulated) -> None:
    users = drawn_users.train_users(SEED, 0, ROWS)
    _, first, user = np.unique(users.key, return_index=True, return_inverse=True)
    assert len(users) / len(first) == pytest.approx(1.491, abs=0.02)
    for name in ("seq", "gender", "age_group"):
        values = np.array(simulated.train[name].to_pylist(), dtype=object)
        assert (values == values[first][user]).all(), name
    missing = simulated.train["feat_e_3"].is_null().to_numpy()
    assert (missing == missing[first][user]).all()
    hour = np.array(simulated.train["hour"].to_pylist())
    assert (hour != hour[first][user]).mean() > 0.2


def test_no_row_names_a_later_row_as_its_user() -> None:
    """The users of the first rows are the same however many follow, and in any chunks."""
    whole = drawn_users.train_users(3, 0, 5_000).key
    parts = [drawn_users.train_users(3, first, 250).key for first in range(0, 5_000, 250)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert len(np.unique(drawn_users.train_users(3, 10_000_000, 5_000).key)) > 4_500
    alone = drawn_users.test_users(3, 0, 2_000, train_rows=0).key
    known = drawn_users.test_users(3, 0, 2_000, train_rows=5_000).key
    assert not np.isin(alone, whole).any()
    assert 0.1 < np.isin(known, whole).mean() < 0.2
    assert np.array_equal(known[~np.isin(known, whole)], alone[~np.isin(known, whole)])


def test_same_seed_gives_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = (
        simulate(tmp_path, name, seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    for one, two, three in zip(first, again, other, strict=True):
        assert checksum(one) == checksum(two) != checksum(three)


def test_full_chunks_do_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    """But for what depends on the day, which their number sets."""
    short, _ = simulate(tmp_path, "short", rows=400)
    long, _ = simulate(tmp_path, "long", rows=900)
    of_day = ["day_of_week", "l_feat_11", "l_feat_12", "l_feat_14", "clicked"]
    expected = pq.read_table(short).drop_columns(of_day)
    assert pq.read_table(long).slice(0, 400).drop_columns(of_day).equals(expected)


def test_chunks_and_splits_differ_from_each_other(tmp_path: Path) -> None:
    train = pq.read_table(simulate(tmp_path, "train")[0])["seq"].to_pylist()
    test = pq.read_table(simulate(tmp_path, "test", split="test")[0])["seq"].to_pylist()
    assert train[:200] != train[200:400]
    assert train[:200] != test[:200]


def test_days_do_not_depend_on_the_chunking(tmp_path: Path) -> None:
    days = [
        pq.read_table(simulate(tmp_path, str(chunk), chunk_rows=chunk)[0])["day_of_week"]
        for chunk in (600, 170)
    ]
    assert days[0].to_pylist() == days[1].to_pylist()


def test_impossible_settings_name_the_number_and_write_nothing(tmp_path: Path) -> None:
    for settings, number in (
        ({"rows": 0}, "0"),
        ({"mean_length": 0.5}, "0.5"),
        ({"split": "x"}, "x"),
    ):
        with pytest.raises(UserError, match=number):
            simulate(tmp_path, "bad", **settings)
    assert list(tmp_path.iterdir()) == []


def test_progress_takes_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="feseq.raw.simulation"):
        simulate(tmp_path, "many", rows=600, chunk_rows=20)
    assert 1 <= len(caplog.records) <= 10
    assert "600 rows simulated" in caplog.records[-1].getMessage()
