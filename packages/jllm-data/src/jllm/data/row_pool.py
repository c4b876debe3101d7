"""Rows of several record batches in any order, without a copy of all of them.

Long cells are cut out and joined one by one (memcpy speed, 1 µs each); columns of short cells are
joined once and gathered by Arrow. At the worst a column of short cells is there twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

LONG = 2048
"""Bytes a cell from which cutting it out by itself is the faster way."""


class RowPool:
    """The rows of `batches` (one schema), numbered through them."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self._schema = batches[0].schema
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        self._columns: list[pa.Array | list[pa.Array]] = []
        for index in range(len(self._schema)):
            chunks = [batch.column(index) for batch in batches]
            long = sum(chunk.nbytes for chunk in chunks) > LONG * int(self._starts[-1])
            self._columns.append(chunks if long else pa.concat_arrays(chunks))

    def take(self, rows: np.ndarray) -> pa.RecordBatch:
        """The rows of these numbers, int64 [≥ 1], in this order, copied."""
        chunk = np.searchsorted(self._starts, rows, side="right") - 1
        places = list(zip(chunk.tolist(), (rows - self._starts[chunk]).tolist(), strict=True))
        columns = [
            pa.concat_arrays([column[chunk].slice(row, 1) for chunk, row in places])
            if isinstance(column, list)
            else column.take(pa.array(rows))
            for column in self._columns
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)
