"""Times of events and rows: from raw parquet through H5 to batches, and what is refused."""

from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from support.raw_tables import raw_table, split_events, to_test_h5, to_train_h5, with_roles
from tossctr.batches import batch_source as batches
from tossctr.batches.batch_source import BatchSource
from tossctr.common.errors import UserError
from tossctr.datasets.store import H5Table
from tossctr.features.fitting import fit_feature_map

TIMED = with_roles(event_time="when", row_time="now")
ROWS = 150


@pytest.mark.parametrize(("unit", "zone"), [("ms", None), ("us", "Asia/Seoul"), ("ns", None)])
def test_timestamps_become_whole_seconds_since_1970(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    moments = [datetime(2024, 3, 1, 12, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)] * 5
    later = [moment + timedelta(seconds=2, milliseconds=999) for moment in moments]
    now = pa.array(later, pa.timestamp("us", "UTC"))
    now = now.cast(pa.timestamp(unit, "UTC"), safe=False).cast(pa.timestamp(unit, zone))
    table = raw_table(10, events=["1"] * 10, when=["1"] * 10, now=now)
    with H5Table(to_test_h5(tmp_path, table, columns=TIMED)) as h5:
        assert h5.column("time").tolist() == [int(m.timestamp()) + 2 for m in moments]


@pytest.mark.usefixtures("small_batches")
def test_elapsed_is_the_row_s_time_minus_the_event_s_however_rows_were_shuffled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WINDOW_ROWS", 70)
    random, plain = np.random.default_rng(0), raw_table(ROWS, longest=40)
    now = random.integers(0, 2_000_000_000, ROWS)
    lengths = [len(split_events(text)) for text in plain["events"].to_pylist()]
    # Some events are later than their row.
    elapsed = [random.integers(-(10**5), 10**6, length) for length in lengths]
    times = [(time - past).clip(0).tolist() for time, past in zip(now, elapsed)]
    when = [",".join(map(str, row)) for row in times]
    table, seen = plain.append_column("when", [when]).append_column("now", [now]), []
    files = *to_train_h5(tmp_path, table, columns=TIMED), to_test_h5(tmp_path, table, columns=TIMED)
    fields = fit_feature_map(files[0], TIMED, min_count=1)
    for file, max_len in product(files, (7, 1_000)):
        source = BatchSource(file, fields, max_len=max_len, batch_rows=16)
        raw_row = source.table.column("row")
        for batch in [*source.shuffled(seed=3, epoch=0), *source.in_order()]:
            assert batch.elapsed_T is not None
            assert batch.elapsed_T.dtype == torch.int64
            # Times are no events of their own.
            assert batch.history_ST.shape == (1, len(batch.elapsed_T))
            rows = raw_row[batch.row_B.numpy()].tolist()
            seen += rows
            for row, elapsed_E in zip(rows, batch.elapsed_T.tensor_split(batch.offsets[1:-1])):
                expected = [max(0, now[row] - time) for time in times[row][-max_len:]]
                assert elapsed_E.tolist() == expected
        ablated = next(source.in_order(ablate_histories=True))
        assert ablated.elapsed_T is not None
        assert not len(ablated.elapsed_T)
    # Each row, in train.h5 or valid.h5 and in test.h5, at two lengths and in two orders.
    assert sorted(seen) == sorted([*range(ROWS)] * 2 * 2 * 2)


EVENTS, NOW = ["1,2,3,4,5"] * 9, [10**9] * 9


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"when": [*EVENTS, "1,2,3,4"]}, "row 10 .1-based.: sequence 'events' has 5 .*, 'when'"),
        ({"when": [*EVENTS, "1,2,3,4,-5"]}, "column 'when'.*row 10 .1-based.: token '-5'"),
        (
            {"now": pa.array([*NOW, None], pa.int64())},
            "'now', data row 10 .1-based.: .* is missing",
        ),
        ({"now": pa.array([*NOW, -5], pa.int32())}, "column 'now', data row 10 .1-based."),
        ({"when": [1] * 10}, "'when' has type int64"),
        ({"now": ["7"] * 10}, "'now' has type string"),
    ],
)
def test_times_that_cannot_be_are_refused(
    tmp_path: Path, columns: dict[str, Any], named: str
) -> None:
    given = {"events": [*EVENTS, EVENTS[0]], "when": [*EVENTS, EVENTS[0]], "now": [*NOW, 1]}
    with pytest.raises(UserError, match=named):
        to_test_h5(tmp_path, raw_table(10, **given | columns), columns=TIMED)
    assert not list(tmp_path.glob("*.h5"))
