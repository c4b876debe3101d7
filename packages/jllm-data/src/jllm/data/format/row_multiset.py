"""A digest of a multiset of rows: equal for the same rows in any order, and for no others.

Each row is hashed with XXH3 (128 bits: against accidents, not against forgery) over all of its
columns. The sum of the hashes modulo 2^128 and the number of rows identify the multiset. It changes
when a row is lost, duplicated or changed, but not with the order, the files, the compression or
Arrow's chunking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from xxhash import xxh3_128_intdigest

from jllm.data.format.arrow_numpy import to_numpy

_NULL, _PLAIN = -1, -2
"""Stand-ins for the length of a cell that is null, or not a list of numbers."""


@dataclass(frozen=True, kw_only=True)
class RowMultiset:
    """The number of rows and the sum of their hashes; multisets can be added."""

    rows: int = 0
    total: int = 0

    def __add__(self, other: RowMultiset) -> RowMultiset:
        """Return the multiset of both together."""
        return RowMultiset(
            rows=self.rows + other.rows, total=(self.total + other.total) % (1 << 128)
        )


def multiset_of(batch: pa.RecordBatch) -> RowMultiset:
    """Return the multiset of a record batch's rows; columns of any type, in the batch's order."""
    cells = [_cells(column) for column in batch.columns]
    lengths = np.stack([lengths for lengths, _ in cells], axis=1).astype("<i8")
    tails = lengths.ravel().view(np.uint8).data
    edges = range(0, len(tails) + 1, 8 * len(cells))
    rows = zip(*(values for _, values in cells), _cut(tails, edges), strict=True)
    total = sum(map(xxh3_128_intdigest, map(b"".join, rows)))
    return RowMultiset(rows=batch.num_rows, total=total % (1 << 128))


def _cells(column: pa.Array) -> tuple[np.ndarray, Iterable[bytes | memoryview]]:
    """Return each cell's length in bytes, int64 [rows] (a mark if no list of numbers), and bytes.

    A cell's bytes depend only on its value, not on its neighbours (so not on nulls elsewhere).
    """
    if not is_number_list(column.type):
        return _plain_cells(column.to_pylist())
    width = column.type.value_type.bit_width // 8
    values = column.values
    if column.null_count or values.null_count:
        cells = [_list_cell(cell, width) for cell in column]
        return np.array([length for length, _ in cells], dtype=np.int64), [c for _, c in cells]
    offsets = to_numpy(column.offsets).astype(np.int64) * width
    view = value_bytes(values)
    return np.diff(offsets), _cut(view, offsets.tolist())


def _list_cell(cell: pa.Scalar, width: int) -> tuple[int, bytes | memoryview]:
    if not cell.is_valid:
        return _NULL, b""
    if cell.values.null_count:
        return _PLAIN, repr(cell.as_py()).encode()
    view = value_bytes(cell.values)
    return len(view), view


def _plain_cells(values: Sequence[object]) -> tuple[np.ndarray, list[bytes]]:
    texts = [b"" if value is None else repr(value).encode() + b"\0" for value in values]
    marks = [_NULL if value is None else _PLAIN for value in values]
    return np.array(marks, dtype=np.int64), texts


def _cut(view: memoryview, edges: Sequence[int]) -> Iterator[memoryview]:
    return (view[start:end] for start, end in pairwise(edges))


def value_bytes(values: pa.Array) -> memoryview:
    """Return the bytes of an array of numbers."""
    width = values.type.bit_width // 8
    data = values.buffers()[1]
    start = values.offset * width
    view = memoryview(data if data is not None else b"").cast("B")
    return view[start : start + len(values) * width]


def is_number_list(kind: pa.DataType) -> bool:
    """Return whether cells are lists of integers or floats."""
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return lists and (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))
