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
def test_no_more_items_are_taken_than_the_caller_can_soon_use(
    waiting: int | None, most: int
) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = prefetch_map(lambda item: item, items(), threads=2, waiting=waiting)
    for used in range(1, 20):
        next(results)
        time.sleep(0.002)
        assert used <= len(taken) <= used + most


def test_items_are_made_while_the_caller_works_and_closed_where_it_stops_early() -> None:
    made, closed, before = threading.Event(), threading.Event(), {*threading.enumerate()}

    def items() -> Iterator[int]:
        try:
            yield 0
            yield 1
            made.set()
            yield from range(2, 100)
        finally:
            closed.set()

    results = prefetch_map(lambda item: item, items())
    assert next(results) == 0
    # The caller asks for nothing here, and item 2 comes to be all the same.
    assert made.wait(timeout=PATIENCE_SECONDS)
    assert isinstance(results, Generator)
    results.close()
    assert closed.is_set()
    assert {*threading.enumerate()} <= before
