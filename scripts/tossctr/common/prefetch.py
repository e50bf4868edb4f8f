"""A map whose results are computed in background threads before they are used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END: Any = object()


def prefetch_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int = 1,
    *,
    buffer: int | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed in advance by `threads` threads.

    One more thread iterates over `items`. Threads help if `function` releases the GIL, as Arrow,
    NumPy, Numba and file reads do. While the caller uses a result, up to `buffer` further results
    are computed (default: `threads` + 1). An error in `items` or in `function` is raised where the
    failed result would be yielded.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(threads) as workers, ThreadPoolExecutor(1) as maker:

        def work_on(future: Future[Item]) -> Result:
            item: Any = future.result()
            return _END if item is _END else function(item)

        def begin() -> Future[Result]:
            return workers.submit(work_on, maker.submit(next, iterator, _END))

        ahead = deque(begin() for _ in range(buffer or threads + 1))
        try:
            while (result := ahead.popleft().result()) is not _END:
                ahead.append(begin())
                yield result
        finally:
            for future in ahead:
                future.cancel()
            # A generator can be closed only when no thread runs it.
            maker.shutdown(cancel_futures=True)
            if isinstance(iterator, Generator):
                iterator.close()
