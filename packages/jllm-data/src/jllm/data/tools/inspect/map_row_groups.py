"""Map a function over the row groups of a data set: threads, ordered results, bounded memory.

Reading checks every row group (its digest, and the rules for rows), so an inspection without an
error has verified all it read. numpy, pyarrow and the digest release the GIL.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from jllm.data.reading.dataset import Dataset
from jllm.data.reading.row_decoder import TrainingRows
from jllm.data.reading.row_groups import RowGroupFiles

THREADS = 4

Result = TypeVar("Result")


def map_groups(
    dataset: Dataset,
    work: Callable[[int, TrainingRows], Result],
    numbers: Sequence[int],
    *,
    threads: int = THREADS,
) -> Iterator[tuple[int, Result]]:
    """Yield (number, work(number, rows)) for each of the row groups `numbers`, in their order.

    At most `threads` + 1 row groups are in memory. Raises ValueError, naming the damaged file.
    """
    own = threading.local()
    opened: list[RowGroupFiles] = []

    def one(number: int) -> Result:
        if not hasattr(own, "files"):
            own.files = RowGroupFiles(dataset)
            opened.append(own.files)
        return work(number, own.files.read(number))

    pool = ThreadPoolExecutor(threads, "jllm-inspect")
    waiting: deque[tuple[int, Future[Result]]] = deque()
    try:
        for number in numbers:
            waiting.append((number, pool.submit(one, number)))
            if len(waiting) > threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for files in opened:
            files.close()
