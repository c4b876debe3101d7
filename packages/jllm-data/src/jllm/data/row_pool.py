"""Rows of several record batches in any order, without a copy of all of them.

Long lists of numbers are cut out and joined as bytes (the speed of memcpy); other
columns are joined once and gathered by Arrow. At the worst those are there twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from jllm.data.row_digest import is_number_list, value_bytes

LONG = 512
"""Bytes a cell from which cutting it out by itself is the faster way."""


class RowPool:
    """The rows of `batches` (one schema), numbered through them."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self._schema = batches[0].schema
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        self._columns: list[pa.Array | _LongLists] = []
        for index in range(len(self._schema)):
            chunks = [batch.column(index) for batch in batches]
            long = sum(chunk.nbytes for chunk in chunks) > LONG * int(self._starts[-1])
            cut = long and all(map(_is_plain, chunks))
            self._columns.append(_LongLists(chunks) if cut else pa.concat_arrays(chunks))

    def take(self, rows: np.ndarray) -> pa.RecordBatch:
        """The rows of these numbers, int64 [≥ 1], in this order, copied."""
        chunk = np.searchsorted(self._starts, rows, side="right") - 1
        columns = [
            column.take(chunk, rows - self._starts[chunk])
            if isinstance(column, _LongLists)
            else column.take(pa.array(rows))
            for column in self._columns
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


class _LongLists:
    """A column of lists of numbers without nulls, in chunks."""

    def __init__(self, chunks: Sequence[pa.ListArray]) -> None:
        self._type = chunks[0].type
        self._width = self._type.value_type.bit_width // 8
        self._bytes = [value_bytes(chunk.values) for chunk in chunks]
        offsets = [chunk.offsets.to_numpy() for chunk in chunks]
        self._first = np.cumsum([0, *map(len, offsets)])
        self._offsets = np.concatenate(offsets).astype(np.int64)

    def take(self, chunk: np.ndarray, place: np.ndarray) -> pa.ListArray:
        at = self._first[chunk] + place
        starts, ends = self._offsets[at], self._offsets[at + 1]
        cuts = ((starts * self._width).tolist(), (ends * self._width).tolist())
        offsets = np.concatenate(([0], np.cumsum(ends - starts)))
        values = pa.allocate_buffer(int(offsets[-1]) * self._width)
        room, place = memoryview(values).cast("B"), (offsets * self._width).tolist()
        for which, start, end, to in zip(chunk.tolist(), *cuts, place[:-1], strict=True):
            room[to : to + end - start] = self._bytes[which][start:end]
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()),
            pa.Array.from_buffers(self._type.value_type, int(offsets[-1]), [None, values]),
            type=self._type,
        )


def _is_plain(chunk: pa.Array) -> bool:
    return is_number_list(chunk.type) and not chunk.null_count and not chunk.values.null_count
