"""First pass of the shuffle: write rows from row groups to runs, sorted by key, in buckets.

A run is a file of as many rows as a process may hold, sorted by key, with one Arrow message for
each bucket (a range of keys). So the second pass can read one bucket of every run and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from jllm.data.format.arrow_numpy import to_arrow, to_numpy
from jllm.data.format.row_multiset import RowMultiset, multiset_of
from jllm.data.reading.dataset import RowGroup
from jllm.data.tools.shuffle.full_rows import open_whole_file, read_whole_group
from jllm.data.tools.shuffle.keys import row_keys
from jllm.data.tools.shuffle.reorder import ReorderedRows

KEY = "jllm.key"
"""The column of keys that runs hold beside the rows' own columns."""


@dataclass(frozen=True, kw_only=True)
class GroupSpan:
    """A work item: neighbouring row groups, and the number of their first row among all rows."""

    groups: tuple[RowGroup, ...]
    group_bytes: tuple[int, ...]
    """Approximate memory of each."""
    first_row: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run. Bucket b is bytes [offsets[b], offsets[b + 1]) of the file."""

    path: Path
    offsets: np.ndarray
    """int64 [buckets + 1]"""


@dataclass(frozen=True, kw_only=True)
class Scattered:
    """The result of one work item."""

    runs: tuple[Run, ...]
    bag: RowMultiset


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """The first pass: reads row groups and writes runs."""

    folder: Path
    schema: pa.Schema
    seed: int
    bounds: np.ndarray
    """uint64 [buckets]: the least key of each bucket."""
    buffer_bytes: int
    """Bytes of rows to hold at once."""

    def __call__(self, unit: GroupSpan) -> Scattered:
        """Scatter one work item. Raises ValueError, naming an unusable file and row group."""
        runs: list[Run] = []
        bag, batches, size, row = RowMultiset(), list[pa.RecordBatch](), 0, unit.first_row
        for batch in self._read(unit):
            if batches and size + batch.nbytes > self.buffer_bytes:
                runs.append(self._write(batches, unit.number, len(runs)))
                batches, size = [], 0
            bag += multiset_of(batch)
            keys = to_arrow(row_keys(self.seed, row, row + batch.num_rows))
            batches.append(batch.append_column(KEY, keys))
            row += batch.num_rows
            size += batch.nbytes
        if batches:
            runs.append(self._write(batches, unit.number, len(runs)))
        return Scattered(runs=tuple(runs), bag=bag)

    def _read(self, unit: GroupSpan) -> Iterator[pa.RecordBatch]:
        path, file = None, None
        for group, size in zip(unit.groups, unit.group_bytes, strict=True):
            if group.digest is not None and size > self.buffer_bytes:
                raise ValueError(
                    f"{group.file}, row group {group.index}: takes {size >> 20} MiB, more than a "
                    f"process may hold ({self.buffer_bytes >> 20} MiB); give more --mem_gb or "
                    "fewer --cores"
                )
            if file is None or path != group.file:
                if file is not None:
                    file.close()
                path, file = group.file, open_whole_file(group.file)
            yield from read_whole_group(
                file, group, self.schema, batch_bytes=self.buffer_bytes // 8, group_bytes=size
            )
        if file is not None:
            file.close()

    def _write(self, batches: Sequence[pa.RecordBatch], unit: int, number: int) -> Run:
        keys = np.concatenate([to_numpy(batch.column(KEY)) for batch in batches])
        order = np.argsort(keys)
        edges = [*np.searchsorted(keys[order], self.bounds).tolist(), len(keys)]
        pool = ReorderedRows(batches, order)
        path = self.folder / f"run-{unit:06d}-{number:04d}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, batches[0].schema) as run:
            run.write_batch(batches[0].slice(0, 0))  # the schema precedes the first batch
            offsets = [file.tell()]
            for start, stop in zip(edges, edges[1:], strict=False):
                if start < stop:
                    run.write_batch(pool.rows(start, stop))
                offsets.append(file.tell())
        return Run(path=path, offsets=np.array(offsets, dtype=np.int64))


def cut_spans(
    groups: Sequence[RowGroup], group_bytes: np.ndarray, most_bytes: int
) -> Iterator[GroupSpan]:
    """Yield the row groups in work items of at most `most_bytes` (or one row group)."""
    ends, start, first_row = np.cumsum(group_bytes), 0, 0
    number = 0
    while start < len(groups):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most_bytes, side="right")))
        span = tuple(groups[start:stop])
        sizes = tuple(group_bytes[start:stop].tolist())
        yield GroupSpan(groups=span, group_bytes=sizes, first_row=first_row, number=number)
        first_row += sum(group.rows for group in span)
        start, number = stop, number + 1


def read_bucket(run: Run, bucket: int, schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the rows of one bucket of one run, sorted by key; None if it has none."""
    start, stop = int(run.offsets[bucket]), int(run.offsets[bucket + 1])
    if start == stop:
        return None
    with pa.memory_map(str(run.path)) as file:
        file.seek(start)
        data = file.read_buffer(stop - start)
    return pa.ipc.read_record_batch(data, schema.append(pa.field(KEY, pa.uint64())))
