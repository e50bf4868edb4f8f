"""Ragged rows: taking some of them, each cut to its newest values."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feseq.common.ragged import Ragged
from support.raw_tables import as_lists, ragged

Lists = list[list[int]]
LISTS = st.lists(st.lists(st.integers(0, 10**18 - 1), max_size=6), max_size=6)


@given(lists=LISTS, newest=st.none() | st.integers(0, 8), data=st.data())
def test_any_rows_are_taken_as_by_a_plain_loop(
    lists: Lists, newest: int | None, data: st.DataObject
) -> None:
    # Rows before and behind, which the offsets leave out.
    whole = ragged([[1, 2], *lists, [3]])
    part = Ragged(whole.values, whole.offsets[1:-1])
    rows = data.draw(st.lists(st.integers(-len(lists), len(lists) - 1)) if lists else st.just([]))
    taken = part.take(np.array(rows, np.int64), newest)
    most = 99 if newest is None else newest
    assert as_lists(taken) == [lists[row][max(0, len(lists[row]) - most) :] for row in rows]
    assert taken.offsets[0] == 0
    assert taken.values.dtype == np.uint64
