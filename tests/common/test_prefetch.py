"""Work ahead of its use: in order, bounded, and with its errors in their place."""

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from support.processes import PATIENCE_SECONDS
from tossctr.common.prefetch import prefetch_map


@pytest.mark.parametrize("threads", [1, 5])
def test_results_and_an_error_come_in_order_whatever_the_speed_of_the_threads(threads: int) -> None:
    def slow_if_even(item: int) -> float:
        time.sleep(0.002 * (item % 2 == 0))
        return 1 / (20 - item)

    results = prefetch_map(slow_if_even, range(30), threads)
    assert [next(results) for _ in range(20)] == [1 / (20 - i) for i in range(20)]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(("waiting", "most"), [(None, 3), (1, 1)])
def test_so_many_items_and_no_more_are_made_ahead_and_closed_where_the_caller_stops_early(
    waiting: int | None, most: int
) -> None:
    taken: list[int] = []
    ahead, closed, before = threading.Event(), threading.Event(), {*threading.enumerate()}

    def items() -> Iterator[int]:
        try:
            for item in range(100):
                taken.append(item)
                yield item
                if item == most - 1:
                    ahead.set()
        finally:
            closed.set()

    results = prefetch_map(lambda item: item, items(), threads=2, buffer=waiting)
    assert next(results) == 0
    # The caller asks for nothing here, and items come to be all the same.
    assert ahead.wait(timeout=PATIENCE_SECONDS)
    for used in range(2, 20):
        next(results)
        time.sleep(0.002)
        assert used <= len(taken) <= used + most
    assert isinstance(results, Generator)
    results.close()
    assert closed.is_set()
    assert {*threading.enumerate()} <= before
