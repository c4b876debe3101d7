"""Work units for several processes (or threads), with results in the order of the units.

Processes are forked, so the loaded tokenizer is shared and nothing is imported twice; they die with
the parent. At most `AHEAD` units per process are in progress, so memory does not grow with the
input. With one process everything happens in this one.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

AHEAD = 3
_PR_SET_PDEATHSIG = 1
_work: Callable[[Any], Any] | None = None
"""The work of a worker process; set only there."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    *,
    threads: bool = False,
) -> Generator[tuple[Item, Result], None, None]:
    """Yield (item, `work(item)`) of every item, in order.

    `threads`: use threads of this process instead of processes. Raises the exception of `work` for
    the first item that fails, and that of `items` once all items before it have their results;
    OSError when a worker process dies (mostly for lack of memory).
    """
    if processes == 1:
        for item in items:
            yield item, work(item)
        return
    pool: Executor
    if threads:
        pool, run = ThreadPoolExecutor(processes, "jllm-convert"), work
    else:
        fork = multiprocessing.get_context("fork")
        pool, run = ProcessPoolExecutor(processes, fork, _start, (work, os.getpid())), _run
    under_way: deque[tuple[Item, Future[Result]]] = deque()
    failure: list[Exception] = []
    try:
        for item in _until_failure(items, failure):
            under_way.append((item, pool.submit(run, item)))
            if len(under_way) >= AHEAD * processes:
                first, future = under_way.popleft()
                yield first, future.result()
        while under_way:
            first, future = under_way.popleft()
            yield first, future.result()
        if failure:
            raise failure[0]
    except BrokenProcessPool as error:
        raise OSError(
            "a conversion process was killed, most likely for want of memory; use fewer --cores"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _until_failure(items: Iterable[Item], failure: list[Exception]) -> Iterator[Item]:
    """Yield the items; an error that ends them is put into `failure`."""
    try:
        yield from items
    except (ValueError, OSError) as error:
        failure.append(error)


def _start(work: Callable[[Any], Any], parent: int) -> None:
    global _work
    _work = work
    gc.freeze()  # objects from before the fork are not traversed again, nor their pages copied
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _run(item: Any) -> Any:
    assert _work is not None
    return _work(item)
