"""Work on the row groups of a data set: several threads, results in order, bounded memory.

Reading checks every row group (its digest, and what a row must be), so an inspection that ends
without an error is a check of all it read. numpy, pyarrow and the digest let other threads run.
Also the provenance columns, which training does not read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data import locations
from jllm.data.dataset import Dataset
from jllm.data.locations import Location, local_path
from jllm.data.row_groups import RowGroupFiles
from jllm.data.rows import Ragged, Rows
from jllm.data.schema import RECORDS, SOURCE

THREADS = 4

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the rows of one row group come from."""

    source: list[str]
    """Of each row, the input file's name."""
    records: Ragged
    """Of each row, the record of each of its documents; −1 for closing ones."""

    def of_row(self, row: int, documents: int) -> list[int | None]:
        """The records of a row's documents, None for closing ones."""
        records = self.records.row(row).tolist()
        if len(records) != documents:
            raise ValueError(
                f"row {row}: {RECORDS} has {len(records)} entries for {documents} documents: "
                "convert again"
            )
        return [None if record < 0 else record for record in records]


def map_groups(
    dataset: Dataset,
    work: Callable[[int, Rows], Result],
    numbers: Sequence[int],
    *,
    threads: int = THREADS,
) -> Iterator[tuple[int, Result]]:
    """(number, work(number, rows)) of each of the row groups `numbers`, in their order.

    At most `threads` + 1 row groups are in memory. ValueError names the file that is damaged.
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


def read_provenance(dataset: Dataset, number: int) -> Provenance | None:
    """Where the rows of a row group come from; None where the file does not say.

    ValueError where the columns do not fit the rows.
    """
    group = dataset.row_groups[number]
    where = f"{group.file}, row group {group.index}"
    try:
        with pq.ParquetFile(local_path(group.file)) as file:
            if not {SOURCE, RECORDS} <= set(file.schema_arrow.names):
                return None
            table = file.read_row_group(group.index, columns=[SOURCE, RECORDS], use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{where}: cannot be read ({error})") from error
    records = table[RECORDS].combine_chunks()
    return Provenance(
        source=table[SOURCE].to_pylist(),
        records=Ragged(
            values=records.flatten().to_numpy(zero_copy_only=False),
            offsets=np.concatenate(([0], np.cumsum(pa.compute.list_value_length(records)))),
        ),
    )


def relative_name(dataset: Dataset, file: Location) -> str:
    """A file's name as people see it: relative to the data set's folder."""
    return locations.relative_name(file, dataset.path)
