"""The simulated stand-in: its files, its days and its users."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feseq.common.errors import UserError
from feseq.simulation import users
from feseq.simulation.statistics import load_statistics
from support.simulated import ROWS, SEED, TEST_ROWS, Simulated, simulate


def test_the_files_have_the_columns_and_types_of_the_real_ones(simulated: Simulated) -> None:
    schema = simulated["train"].schema
    assert schema.names == load_statistics()["column_order"]
    texts = {"gender", "age_group", "inventory_id", "day_of_week", "hour", "seq"}
    assert {field.name for field in schema if field.type == pa.string()} == texts
    assert {field.name for field in schema if field.type == pa.int64()} == {"clicked"}
    assert sum(field.type == pa.float32() for field in schema) == 75 + 37
    assert set(simulated["train"]["clicked"].unique().to_pylist()) == {0, 1}
    test = simulated["test"]
    assert test.schema.names == ["ID", *(name for name in schema.names if name != "clicked")]
    assert test["ID"].to_pylist() == [f"TEST_{row:07d}" for row in range(TEST_ROWS)]
    assert test["day_of_week"].unique().to_pylist() == ["7"]
    # The truth lies apart, in the same order.
    for name, key in (("train", "row"), ("test", "ID")):
        truth = simulated[f"{name}_truth"]
        assert truth.schema.names == [key, "probability", "probability_of_new_user"]
    assert simulated["train_truth"]["row"].to_pylist() == list(range(ROWS))
    assert simulated["test_truth"]["ID"].equals(test["ID"])


def test_train_days_have_as_many_rows_without_a_click_and_their_click_rates(
    simulated: Simulated,
) -> None:
    day = np.array(simulated["train"]["day_of_week"].to_pylist())
    clicked = simulated["train"]["clicked"].to_numpy()
    assert list(day) == sorted(day)
    others = np.array([(clicked[day == name] == 0).sum() for name in "1234567"])
    np.testing.assert_allclose(others, (clicked == 0).sum() / 7, rtol=0.01)
    probability = simulated["train_truth"]["probability"].to_numpy()
    rates = load_statistics()["categories"]["day_of_week"]["click_rate"]
    found = [probability[day == name].mean() for name in rates]
    np.testing.assert_allclose(found, list(rates.values()), rtol=0.2)


def test_users_come_back_with_all_that_is_their_own(simulated: Simulated) -> None:
    """10,704,179 rows have 7,179,942 sequences; texts below ten events are equal by chance."""
    train, test = simulated["train"], simulated["test"]
    texts = [np.array(table["seq"].to_pylist()) for table in (train, test)]
    is_long = [np.char.count(text, ",") >= 9 for text in texts]
    long_train, long_test = (text[long] for text, long in zip(texts, is_long))
    assert len(long_train) / len(np.unique(long_train)) == pytest.approx(1.491, abs=0.03)
    assert 1.1 < len(long_test) / len(np.unique(long_test)) < 1.3
    last = np.array(train["day_of_week"].to_pylist())[is_long[0]] == "7"
    on_last_day = np.isin(long_train[last], long_train[~last]).mean()
    assert 0.1 < np.isin(long_test, long_train).mean() < 0.2 < on_last_day < 0.4
    key = users.train_users(SEED, np.arange(ROWS))
    _, first, user = np.unique(key, return_index=True, return_inverse=True)
    assert len(key) / len(first) == pytest.approx(1.491, abs=0.02)
    for name in ("seq", "gender", "age_group"):
        values = np.array(train[name].to_pylist(), dtype=object)
        assert (values == values[first][user]).all(), name
    missing = train["feat_e_3"].is_null().to_numpy()
    assert (missing == missing[first][user]).all()
    hour = np.array(train["hour"].to_pylist())
    assert (hour != hour[first][user]).mean() > 0.2


def test_no_row_names_a_later_row_as_its_user() -> None:
    """The users of the first rows are the same however many follow, and in any chunks."""
    row = np.arange(5_000)
    whole = users.train_users(3, row)
    parts = [users.train_users(3, part) for part in np.split(row, 20)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert len(np.unique(users.train_users(3, 10_000_000 + row))) > 4_500
    alone, known = (users.test_users(3, row[:2_000], train_rows) for train_rows in (0, 5_000))
    of_train = np.isin(known, whole)
    assert not np.isin(alone, whole).any()
    assert 0.1 < of_train.mean() < 0.2
    assert np.array_equal(known[~of_train], alone[~of_train])


@pytest.mark.parametrize("mean_length", [float("nan"), 0, 10**6])
def test_a_length_that_no_history_has_is_refused(tmp_path: Path, mean_length: float) -> None:
    with pytest.raises(UserError, match="mean_length"):
        simulate(tmp_path, "a", mean_length=mean_length)


def test_a_seed_draws_the_same_rows_again_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        [path.read_bytes() for path in simulate(tmp_path, name, seed=seed)]
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    for one, two, three in zip(first, again, other, strict=True):
        assert one == two != three


def test_chunks_differ_and_do_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    """But for what depends on the day, which their number sets."""
    short, long = (
        pq.read_table(simulate(tmp_path, str(rows), rows=rows)[0]) for rows in (400, 900)
    )
    of_day = ["day_of_week", "l_feat_11", "l_feat_12", "l_feat_14", "clicked"]
    assert long.slice(0, 400).drop_columns(of_day).equals(short.drop_columns(of_day))
    test = pq.read_table(simulate(tmp_path, "test", split="test")[0])["seq"]
    parts = [long["seq"].slice(0, 200), long["seq"].slice(200, 200), test.slice(0, 200)]
    assert len({tuple(part.to_pylist()) for part in parts}) == 3
    other = pq.read_table(simulate(tmp_path, "other", rows=900, chunk_rows=170)[0])
    assert other["day_of_week"].equals(long["day_of_week"])
