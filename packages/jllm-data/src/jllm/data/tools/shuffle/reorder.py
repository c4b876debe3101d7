"""Reorder the rows of several record batches without copying all of them.

Long lists of numbers are cut out and joined as bytes (at the speed of memcpy), for as many rows at
a time as are requested. Other columns are reordered once by Arrow, which needs up to three times
their size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from jllm.data.format.arrow_numpy import to_arrow, to_numpy
from jllm.data.format.row_multiset import is_number_list, value_bytes

LONG = 512
"""Bytes of a cell from which cutting it out on its own is faster."""


class ReorderedRows:
    """The rows of `batches` (one schema, numbered consecutively) in `order`, int64 [rows]."""

    def __init__(self, batches: Sequence[pa.RecordBatch], order: np.ndarray) -> None:
        self._schema = batches[0].schema
        starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        chunk = np.searchsorted(starts, order, side="right") - 1
        self._columns: list[pa.Array | _LongLists] = []
        for index in range(len(self._schema)):
            chunks = [batch.column(index) for batch in batches]
            long = sum(chunk.nbytes for chunk in chunks) > LONG * int(starts[-1])
            if long and all(map(_is_plain, chunks)):
                self._columns.append(_LongLists(chunks, chunk, order - starts[chunk]))
            else:
                self._columns.append(pa.concat_arrays(chunks).take(to_arrow(order)))

    def rows(self, start: int, stop: int) -> pa.RecordBatch:
        """Return rows [start, stop) of the order; the range must not be empty."""
        columns = [
            column.cut(start, stop)
            if isinstance(column, _LongLists)
            else column.slice(start, stop - start)
            for column in self._columns
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


class _LongLists:
    """A column of lists of numbers without nulls: row `place` of batch `chunk`, int64 [rows]."""

    def __init__(
        self, chunks: Sequence[pa.ListArray], chunk: np.ndarray, place: np.ndarray
    ) -> None:
        self._type = chunks[0].type
        self._width = self._type.value_type.bit_width // 8
        values = [value_bytes(one.values) for one in chunks]
        offsets = [to_numpy(one.offsets) for one in chunks]
        at = np.cumsum([0, *map(len, offsets)])[chunk] + place
        joined = np.concatenate(offsets).astype(np.int64) * self._width
        starts, ends = joined[at], joined[at + 1]
        self._offsets = np.concatenate(([0], np.cumsum(ends - starts)))
        self._cells = [
            values[which][start:end]
            for which, start, end in zip(
                chunk.tolist(), starts.tolist(), ends.tolist(), strict=True
            )
        ]

    def cut(self, start: int, stop: int) -> pa.ListArray:
        offsets = (self._offsets[start : stop + 1] - self._offsets[start]) // self._width
        values = pa.py_buffer(b"".join(self._cells[start:stop]))
        return pa.ListArray.from_arrays(
            to_arrow(offsets.astype(np.int32)),
            pa.Array.from_buffers(self._type.value_type, int(offsets[-1]), [None, values]),
            type=self._type,
        )


def _is_plain(chunk: pa.Array) -> bool:
    return is_number_list(chunk.type) and not chunk.null_count and not chunk.values.null_count
