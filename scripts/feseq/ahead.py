"""Doing the next pieces of work while the last one is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = 1
) -> Iterator[Result]:
    """`function` of each item, in order, up to `threads` + 1 of them ahead of their use.

    Threads pay where `function` leaves the interpreter: Arrow, NumPy, Numba and file reads do. An
    error in `items` or in `function` reaches the caller when its turn comes; at most `threads` + 1
    results wait, so memory stays bounded.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
