"""Doing the next pieces of work while the last one is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END: Any = object()


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = 1
) -> Iterator[Result]:
    """`function` of each item, in order, `threads` + 1 of them ahead of their use.

    Items are made by a thread of their own, one after the other. Threads pay where the work leaves
    the interpreter: Arrow, NumPy, Numba and file reads do. An error in `items` or in `function`
    reaches the caller when its turn comes; at most `threads` + 1 results wait, so memory stays
    bounded.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(threads) as workers, ThreadPoolExecutor(1) as maker:

        def work_on(item: Future[Item]) -> Result:
            made: Any = item.result()
            return _END if made is _END else function(made)

        def begin() -> Future[Result]:
            return workers.submit(work_on, maker.submit(next, iterator, _END))

        waiting = deque(begin() for _ in range(threads + 1))
        try:
            while (result := waiting.popleft().result()) is not _END:
                waiting.append(begin())
                yield result
        finally:
            for future in waiting:
                future.cancel()
            # The thread that makes items has to be done before they can be closed.
            maker.shutdown(cancel_futures=True)
            if isinstance(iterator, Generator):
                iterator.close()
