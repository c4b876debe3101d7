"""Second pass of the shuffle: gather a block's buckets from all runs into one parquet file.

The rows of a block, sorted by key, do not depend on how runs and buckets were cut, and row groups
are cut by number of rows alone. So the file's bytes are the same for any memory limit and number of
processes. The rows compared with the input are those given to the encoder. The whole file is
checked to be on disk, but only the first row group is decoded and compared: decoding all would be a
fifth of the work (`jllm.verify_data` does it on request).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from jllm.data.format.arrow_numpy import to_numpy
from jllm.data.format.info import FileInfo
from jllm.data.format.row_multiset import RowMultiset
from jllm.data.reading.dataset import RowGroup
from jllm.data.tools.shuffle.full_rows import open_whole_file, read_whole_group
from jllm.data.tools.shuffle.reorder import ReorderedRows
from jllm.data.tools.shuffle.scatter import KEY, Run, read_bucket
from jllm.data.writing.batch_writer import GroupWriter


@dataclass(frozen=True, kw_only=True)
class Block:
    """One written block."""

    file: FileInfo
    max_num_blocks: int
    bag: RowMultiset
    """The rows that were encoded."""


@dataclass(frozen=True, kw_only=True)
class BlockMaker:
    """The second pass: writes blocks."""

    folder: Path
    name: Callable[[int], str]
    schema: pa.Schema
    runs: Sequence[Run]
    bounds: np.ndarray
    """uint64 [buckets], as in `scatter.Scatter`."""
    buckets_a_block: int
    group_rows: int
    compression: str
    buffer_bytes: int

    def __call__(self, block: int) -> Block:
        """Gather, write and check block number `block`. Raises OSError (disk full, …)."""
        path = self.folder / self.name(block)
        first = block * self.buckets_a_block
        with GroupWriter(path, self.schema, compression=self.compression) as writer:
            rest: list[pa.RecordBatch] = []
            for bucket in range(first, first + self.buckets_a_block):
                for batches in self._pieces(bucket):
                    rest = self._write_groups(writer, rest + batches)
            for batch in rest:
                writer.write(batch.drop_columns([KEY]))
            written = writer.close()
        self._check(path, written)
        return Block(file=written, max_num_blocks=writer.max_num_blocks, bag=writer.bag)

    def _write_groups(
        self, writer: GroupWriter, batches: Sequence[pa.RecordBatch]
    ) -> list[pa.RecordBatch]:
        """Write the whole row groups of `batches`; return the remaining rows, in order."""
        order = np.argsort(np.concatenate([to_numpy(batch.column(KEY)) for batch in batches]))
        pool, step = ReorderedRows(batches, order), self.group_rows
        whole = len(order) - len(order) % step
        for start in range(0, whole, step):
            writer.write(pool.rows(start, start + step).drop_columns([KEY]))
        return [pool.rows(whole, len(order))] if whole < len(order) else []

    def _pieces(self, bucket: int) -> Iterator[list[pa.RecordBatch]]:
        """Yield the bucket's rows from all runs, cut by key if together they are too large."""
        sizes = [int(run.offsets[bucket + 1] - run.offsets[bucket]) for run in self.runs]
        parts = math.ceil(sum(sizes) / self.buffer_bytes)
        if parts <= 1:
            found = (read_bucket(run, bucket, self.schema) for run in self.runs)
            batches = [batch for batch in found if batch is not None]
            if batches:
                yield batches
            return
        low = int(self.bounds[bucket])
        high = int(self.bounds[bucket + 1]) if bucket + 1 < len(self.bounds) else 1 << 64
        edges = [low + (high - low) * part // parts for part in range(parts)]
        for start, stop in zip(edges, [*edges[1:], None], strict=True):
            found = (self._range(run, bucket, start, stop) for run in self.runs)
            batches = [batch for batch in found if batch is not None]
            if batches:
                yield batches

    def _range(self, run: Run, bucket: int, start: int, stop: int | None) -> pa.RecordBatch | None:
        batch = read_bucket(run, bucket, self.schema)
        if batch is None:
            return None
        keys = to_numpy(batch.column(KEY))
        first = int(np.searchsorted(keys, np.uint64(start)))
        end = len(keys) if stop is None else int(np.searchsorted(keys, np.uint64(stop)))
        if first == end:
            return None
        kept = batch.slice(first, end - first).serialize()  # a copy, so that the rest can be freed
        return pa.ipc.read_record_batch(kept, batch.schema)

    def _check(self, path: Path, written: FileInfo) -> None:
        """Check the row numbers of the footer, and the rows of the first row group."""
        stated = written.row_groups
        with open_whole_file(path) as file:
            footer = file.metadata
            rows = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
            if rows != [group.num_samples for group in stated]:
                raise ValueError(f"{path}: {rows} rows were written for {stated}; report it")
            first = RowGroup(file=path, index=0, rows=rows[0], digest=stated[0].digest)
            for _ in read_whole_group(
                file, first, self.schema, batch_bytes=self.buffer_bytes, group_bytes=0
            ):
                pass
