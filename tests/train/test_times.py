"""Times of events and rows: from raw parquet through H5 to batches, and what is refused."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
import torch

from feseq.common.errors import UserError
from feseq.dataset import batches
from feseq.dataset.batches import BatchSource
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.fitting import fit_feature_map
from support.raw_tables import COLUMNS, raw_table, split_events, to_test_h5, to_train_h5, with_roles

TIMED = with_roles(
    event_time="when",
    row_time="now",
    group_of=dict(COLUMNS.group_of) | {"when": "clock", "now": "clock"},
)
ROWS = 403


def timed_table() -> pa.Table:
    """A raw table in seconds since 1970; some events are later than their row."""
    random = np.random.default_rng(0)
    plain = raw_table(ROWS, longest=40)
    now = random.integers(0, 2_000_000_000, ROWS)
    when = [
        ",".join(
            str(max(0, now[i] - past)) for past in random.integers(-(10**5), 10**6, len(events))
        )
        for i, events in enumerate(map(split_events, plain["events"].to_pylist()))
    ]
    return plain.append_column("when", [when]).append_column("now", [now])


def times_of_h5(path: Path) -> dict[int, tuple[int, list[int]]]:
    """Row in the raw file -> its time and its events' times, read without the library."""
    with h5py.File(path) as file:
        assert file["time"].dtype == np.int64
        values, offsets = (file[f"sequence/when/{part}"][:] for part in ("values", "offsets"))
        rows, times = file["row"][:].tolist(), file["time"][:].tolist()
    pieces = [values[a:b].tolist() for a, b in pairwise(offsets)]
    return dict(zip(rows, zip(times, pieces)))


def times_of_raw(table: pa.Table) -> dict[int, tuple[int, list[int]]]:
    pairs = zip(table["now"].to_pylist(), map(split_events, table["when"].to_pylist()))
    return dict(enumerate(pairs))


@pytest.mark.usefixtures("small_batches")
def test_times_come_back_row_by_row_however_rows_were_shuffled(tmp_path: Path) -> None:
    table = timed_table()
    expected = times_of_raw(table)
    parts = [times_of_h5(path) for path in to_train_h5(tmp_path, table, columns=TIMED)]
    assert sum(map(len, parts)) == ROWS
    assert parts[0] | parts[1] == expected
    assert list(parts[0]) != sorted(parts[0])
    test = times_of_h5(to_test_h5(tmp_path, table, columns=TIMED))
    assert list(test.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("unit", "zone"), [("s", None), ("ms", None), ("us", "Asia/Seoul"), ("ns", None)]
)
def test_timestamps_become_whole_seconds_since_1970(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    moments = [datetime(2024, 3, 1, 12, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)] * 5
    later = [moment + timedelta(seconds=2, milliseconds=999) for moment in moments]
    now = pa.array(later, pa.timestamp("us", "UTC"))
    now = now.cast(pa.timestamp(unit, "UTC"), safe=False).cast(pa.timestamp(unit, zone))
    table = raw_table(10, events=["1"] * 10, when=["1"] * 10, now=now)
    found = times_of_h5(to_test_h5(tmp_path, table, columns=TIMED))
    assert [time for time, _ in found.values()] == [int(m.timestamp()) + 2 for m in moments]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return timed_table()


@pytest.fixture(scope="module")
def train(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows as in `table`, but for the two last, which are in valid.h5."""
    folder = tmp_path_factory.mktemp("h5")
    return to_train_h5(folder, table, columns=TIMED, valid_rows=(ROWS - 2, ROWS - 1))[0]


@pytest.fixture(scope="module")
def fields(train: Path) -> FeatureMap:
    return fit_feature_map(train, TIMED, min_count=1)


@pytest.mark.parametrize("max_len", [1, 7, 1_000])
def test_elapsed_is_the_row_s_time_minus_the_event_s_event_by_event(
    monkeypatch: pytest.MonkeyPatch,
    table: pa.Table,
    train: Path,
    fields: FeatureMap,
    max_len: int,
) -> None:
    monkeypatch.setattr(batches, "WINDOW_ROWS", 70)
    expected = times_of_raw(table)
    source = BatchSource(train, fields, max_len=max_len, batch_rows=16)
    is_later = 0
    for batch in [*source.shuffled(seed=3, epoch=0), *source.in_order()]:
        assert batch.elapsed_T is not None
        assert batch.elapsed_T.dtype == torch.int64
        assert batch.elapsed_T.shape == batch.history_ST.shape[1:]
        for row, start, stop in zip(batch.row_B.tolist(), batch.offsets, batch.offsets[1:]):
            now, when = expected[row]
            elapsed = [now - time for time in when[-max_len:]]
            is_later += sum(value < 0 for value in elapsed)
            assert batch.elapsed_T[start:stop].tolist() == [max(0, value) for value in elapsed]
    assert is_later > 0


def test_times_have_no_vocabulary_and_no_place_in_the_history(
    train: Path, fields: FeatureMap
) -> None:
    assert fields.event_time == "when"
    assert [field.column for field in fields.sequences] == ["events"]
    batch = next(BatchSource(train, fields, max_len=9, batch_rows=8).in_order())
    assert batch.history_ST.shape[0] == 1
    assert FeatureMap.from_dict(fields.to_dict()) == fields
    source = BatchSource(train, fields, max_len=9, batch_rows=8)
    blanked = next(source.in_order(blank_histories=True))
    assert blanked.row_B.tolist() == batch.row_B.tolist()
    assert blanked.offsets.tolist() == [0] * 9
    assert blanked.elapsed_T is not None
    assert blanked.elapsed_T.shape == (0,)


@pytest.mark.parametrize(
    "roles", [{}, {"sequences": ("events", "when"), "targets": ("item", "country"), "profile": ()}]
)
def test_a_table_without_times_is_refused_where_the_model_needs_them(
    tmp_path: Path, table: pa.Table, fields: FeatureMap, roles: dict[str, Any]
) -> None:
    h5 = to_test_h5(tmp_path, table, columns=with_roles(**roles))
    plain = FeatureMap.from_dict(fields.to_dict() | {"profile": []})
    with pytest.raises(UserError, match=r"lacks 1 columns .*'when'"):
        BatchSource(h5, plain, max_len=9, batch_rows=8)


EVENTS, NOW = ["1,2,3,4,5"] * 9, [10**9] * 9


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"when": [*EVENTS, "1,2,3,4"]}, "row 9: sequence 'events' has 5 events, 'when'"),
        ({"when": [*EVENTS, None]}, "row 9: sequence 'events' has 5 events, 'when'"),
        ({"when": [*EVENTS, "1,2,3,4,-5"]}, "column 'when', row 9: token '-5'"),
        ({"now": pa.array([*NOW, None], pa.int64())}, "column 'now', row 9"),
        ({"now": pa.array([*NOW, -5], pa.int32())}, "column 'now', row 9"),
        ({"now": pa.array([*NOW, 2**63], pa.uint64())}, "column 'now', row 9"),
        (
            {"now": pa.array([*NOW, -1]).cast(pa.timestamp("ms", "Asia/Seoul"))},
            "column 'now', row 9",
        ),
        ({"when": [1] * 10}, "'when' has type int64"),
        ({"now": [1.5] * 10}, "'now' has type double"),
        ({"now": ["7"] * 10}, "'now' has type string"),
        ({"now": None}, "'now'.*'clock'"),
    ],
)
def test_times_that_cannot_be_are_refused(
    tmp_path: Path, columns: dict[str, Any], named: str
) -> None:
    given = {"events": [*EVENTS, EVENTS[0]], "when": [*EVENTS, EVENTS[0]], "now": [*NOW, 1]}
    given = {name: values for name, values in (given | columns).items() if values is not None}
    with pytest.raises(UserError, match=named):
        to_test_h5(tmp_path, raw_table(10, **given), columns=TIMED)
    assert not list(tmp_path.glob("*.h5"))
