"""Rows → parquet files: row groups of a fixed number of rows, each with its digest.

A reader holds a row group in memory for each lane, so row groups are small: at most 256 rows and
about a million ids. Ids are stored plainly (no dictionary) and compressed, which for token ids is
smaller and faster than a dictionary. A thread compresses and writes a row group while the next one
is collected: about 300 MB/s of ids with zstd.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data.format.arrow_numpy import to_arrow
from jllm.data.format.digests import file_digest, row_group_digest
from jllm.data.format.info import FileInfo, RowGroupInfo
from jllm.data.format.schema import (
    CU_SEQLENS,
    INPUT_IDS,
    INT32_LIST,
    INT64_LIST,
    LABELS,
    RECORDS,
    SOURCE,
    FileMetadata,
    arrow_schema,
    fields_of,
)
from jllm.data.packing.batches import PackedRows, join_rows

GROUP_ROWS, GROUP_IDS = 256, 1 << 20


def rows_a_group(max_len: int) -> int:
    """Return the number of rows in a row group whose rows have at most `max_len` ids."""
    return max(1, min(GROUP_ROWS, GROUP_IDS // max_len))


class RowWriter:
    """A writer of files of `file_rows` rows each, named by `name(number of the file)`."""

    def __init__(
        self,
        folder: Path,
        metadata: FileMetadata,
        name: Callable[[int], str],
        *,
        source: str,
        file_rows: int,
        compression: str,
    ) -> None:
        self.files: list[FileInfo] = []
        self.max_num_blocks = 0
        self._folder = folder
        self._source = source
        self._fields = fields_of(metadata.kind)
        self._schema = arrow_schema(metadata)
        self._name = name
        self._compression = compression
        self._group_rows = min(rows_a_group(metadata.max_len), file_rows)
        self._groups_a_file = -(-file_rows // self._group_rows)
        self._waiting: list[PackedRows] = []
        self._waiting_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._thread = ThreadPoolExecutor(1, "jllm-write")
        # Start the thread here: after a signal later on, `abandon` might not wait for it.
        self._thread.submit(int).result()
        self._under_way: Future[None] | None = None
        """The row group that the thread is compressing and writing."""
        self._groups: list[RowGroupInfo] = []

    def add(self, rows: PackedRows) -> None:
        """Take rows; write the row groups that are full.

        Raises OSError (disk full, …), in this call or the next.
        """
        self._waiting.append(rows)
        self._waiting_rows += len(rows)
        if self._waiting_rows >= self._group_rows:
            block = join_rows(self._waiting)
            whole = len(block) - len(block) % self._group_rows
            for at in range(0, whole, self._group_rows):
                self._write(block.slice(at, at + self._group_rows))
            self._waiting = [block.slice(whole, len(block))]
            self._waiting_rows = len(block) - whole

    def finish(self) -> None:
        """Write the waiting rows and close the last file; all files are complete afterwards."""
        if self._waiting_rows:
            self._write(join_rows(self._waiting))
        self._close_file()
        self._thread.shutdown()

    def abandon(self) -> None:
        """Close the open file, whatever it holds, without raising an error."""
        self._thread.shutdown()
        if self._writer is not None:
            with contextlib.suppress(OSError):  # The original error is the one to report.
                self._writer.close()
            self._writer = None

    def _write(self, rows: PackedRows) -> None:
        table = pa.Table.from_pydict(row_columns(rows, self._source), schema=self._schema)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._folder / self._name(len(self.files)),
                self._schema,
                compression=self._compression,
                use_dictionary=[SOURCE],
                write_statistics=False,
            )
        self._wait()
        self._under_way = self._thread.submit(
            self._writer.write_table, table, row_group_size=len(rows)
        )
        digest = row_group_digest({name: table[name] for name in self._fields})
        self._groups.append(RowGroupInfo(num_samples=len(rows), digest=digest))
        self.max_num_blocks = max(self.max_num_blocks, int(rows.bound_counts.max()))
        if len(self._groups) == self._groups_a_file:
            self._close_file()

    def _wait(self) -> None:
        """Wait until the previous row group is written. Raises what the writing raised."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def _close_file(self) -> None:
        if self._writer is None:
            return
        self._wait()
        writer, self._writer = self._writer, None
        writer.close()
        name = self._name(len(self.files))
        path = self._folder / name
        self.files.append(
            FileInfo(
                name=name,
                bytes=path.stat().st_size,
                digest=file_digest(path),
                row_groups=tuple(self._groups),
            )
        )
        self._groups = []


def row_columns(rows: PackedRows, source: str) -> dict[str, pa.Array]:
    """Return the columns of their kind, by name, for rows from one source."""
    columns: dict[str, pa.Array] = {INPUT_IDS: _lists(rows.ids, rows.row_lengths)}
    if rows.number is not None:
        columns[LABELS] = _lists(rows.number, np.ones(len(rows), np.int64))
    else:
        columns[CU_SEQLENS] = _lists(rows.bounds, rows.bound_counts)
    if rows.labels is not None:
        columns[LABELS] = _lists(rows.labels, rows.row_lengths)
    columns[SOURCE] = _repeated(source, len(rows))
    columns[RECORDS] = _lists(rows.records, rows.bound_counts - 1, INT64_LIST)
    return columns


def _lists(values: np.ndarray, lengths: np.ndarray, kind: pa.ListType = INT32_LIST) -> pa.Array:
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    numbers = np.asarray(values, kind.value_type.to_pandas_dtype())
    return pa.ListArray.from_arrays(to_arrow(offsets), to_arrow(numbers), type=kind)


def _repeated(text: str, count: int) -> pa.StringArray:
    raw = text.encode()
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(len(raw))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(raw * count))
