"""Record batches of rows → one parquet file, with all their columns and a row group per batch.

The encoding is that of `row_writer.RowWriter`: plain for ids, a dictionary for texts, no
statistics. `row_multiset` counts the rows that the encoder was given.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jllm.data.format.digests import file_digest, row_group_digest
from jllm.data.format.info import FileInfo, RowGroupInfo
from jllm.data.format.row_multiset import RowMultiset, multiset_of
from jllm.data.format.schema import CU_SEQLENS, FIELDS


class GroupWriter:
    """A writer of one file; a context manager that closes the file after an error too."""

    def __init__(self, path: Path, schema: pa.Schema, *, compression: str) -> None:
        self.max_num_blocks = 0
        """The length of the longest `cu_seqlens` of a row (2 without that column)."""
        self.bag = RowMultiset()
        """The multiset of the rows written so far."""
        self._path = path
        self._groups: list[RowGroupInfo] = []
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression=compression,
            use_dictionary=dictionary_columns(schema),  # pyrefly: ignore[bad-argument-type]
            write_statistics=False,
        )

    def write(self, rows: pa.RecordBatch) -> None:
        """Write a row group. Raises OSError (disk full, …), ValueError for null rows or ids."""
        self._writer.write_batch(rows, row_group_size=rows.num_rows)
        fields = {name: rows.column(name) for name in FIELDS if name in rows.schema.names}
        digest = row_group_digest(fields)
        self._groups.append(RowGroupInfo(num_samples=rows.num_rows, digest=digest))
        self.bag += multiset_of(rows)
        longest = 2
        if CU_SEQLENS in fields:
            longest = pc.max(pc.list_value_length(fields[CU_SEQLENS])).as_py()
        self.max_num_blocks = max(self.max_num_blocks, longest)

    def close(self) -> FileInfo:
        """Finish the file and return its description. Raises OSError (disk full, …)."""
        self._writer.close()
        return FileInfo(
            name=self._path.name,
            bytes=self._path.stat().st_size,
            digest=file_digest(self._path),
            row_groups=tuple(self._groups),
        )

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file after an error, whatever it holds."""
        if error is not None:
            with contextlib.suppress(OSError):  # the original error is the one to report
                self._writer.close()


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Return the columns to encode by dictionary: texts, which repeat from row to row."""
    return [field.name for field in schema if _is_text(field.type)]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)
