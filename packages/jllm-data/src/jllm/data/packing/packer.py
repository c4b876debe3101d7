"""Packing: whole documents into rows that are as full as possible, by windows of the input.

Best fit decreasing packs almost every set of documents without loss. Where it does not, exact
packing is tried too, and the result with fewer rows is taken. A document is never cut.

Deterministic: rows depend only on the documents and the capacity, not on the batches in which the
documents arrive. Documents keep their input order within a row, and rows are ordered by their first
document. Needs memory for one window of ids and one batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jllm.data.packing.batches import DocumentBatch, PackedRows, join_documents, labels_of
from jllm.data.packing.best_fit import best_fit_decreasing
from jllm.data.packing.exact_fit import pack_exactly

WINDOW_IDS, WINDOW_ROWS = 4 << 20, 256
"""The size of a window: it ends with the document that brings it to WINDOW_IDS ids, or, for long
rows, to the capacity of WINDOW_ROWS rows."""
FULL_ENOUGH = 0.9995
"""Rows this full are written; documents of emptier rows wait for the next window."""
CARRY_AT_MOST = 0.25
"""The fraction of a window that may wait; the rest of its badly filled rows is written."""


def assign_rows(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Return the row (int64 [N], from 0 without gaps) of each document of `lengths` (int [N]).

    Every length must be in 1 … capacity. The rows are at least as full as by best fit decreasing.
    """
    row = best_fit_decreasing(lengths, capacity)
    fewest = -(-int(np.sum(lengths)) // capacity)
    if not len(row) or (row.max() + 1) * FULL_ENOUGH <= fewest:
        return row
    other = pack_exactly(lengths, capacity)
    return other if other.max() < row.max() else row


class Packer:
    """Packs documents window by window; those in badly filled rows wait for the next window."""

    def __init__(self, capacity: int) -> None:
        """`capacity`: the most ids of a row (max_len)."""
        self._capacity = capacity
        self._window = max(WINDOW_IDS, WINDOW_ROWS * capacity)
        self._waiting: list[DocumentBatch] = []
        self._waiting_ids = 0

    def add(self, documents: DocumentBatch) -> Iterator[PackedRows]:
        """Take documents of 2 … capacity ids; yield rows whenever a window is full."""
        if len(documents):
            self._waiting.append(documents)
            self._waiting_ids += len(documents.ids)
        while self._waiting_ids >= self._window:
            yield self._pack(last=False)

    def finish(self) -> Iterator[PackedRows]:
        """Pack all waiting documents."""
        if self._waiting:
            yield self._pack(last=True)

    def _pack(self, *, last: bool) -> PackedRows:
        """Return rows of the first window of waiting documents, or of all if it is the `last`."""
        waiting = join_documents(self._waiting)
        count = len(waiting)
        if not last:
            count = int(np.searchsorted(np.cumsum(waiting.lengths), self._window)) + 1
        documents, later = waiting.slice(0, count), waiting.slice(count, len(waiting))
        row = assign_rows(documents.lengths, self._capacity)
        keep = np.zeros(count, bool) if last else self._badly_packed(documents, row)
        rest = np.flatnonzero(keep)
        self._waiting = [documents.take(rest)] if len(rest) else []
        self._waiting += [later] if len(later) else []
        self._waiting_ids = sum(len(documents.ids) for documents in self._waiting)
        return pack_rows(documents, row, np.flatnonzero(~keep))

    def _badly_packed(self, documents: DocumentBatch, row: np.ndarray) -> np.ndarray:
        """Return which documents are in rows that are not full enough, the emptiest rows first."""
        filled = np.bincount(row, documents.lengths).astype(np.int64)
        emptiest = np.argsort(filled, kind="stable")
        waits = filled[emptiest] < FULL_ENOUGH * self._capacity
        waits &= np.cumsum(filled[emptiest]) <= CARRY_AT_MOST * len(documents.ids)
        carried = np.zeros(len(filled), bool)
        carried[emptiest[waits]] = True
        return carried[row]


def pack_rows(documents: DocumentBatch, row: np.ndarray, chosen: np.ndarray) -> PackedRows:
    """Build rows of the `chosen` documents (int [M], ascending); `row` is each document's row."""
    rows, first_document, number = np.unique(row[chosen], return_index=True, return_inverse=True)
    rank = np.empty(len(rows), np.int64)
    rank[np.argsort(first_document, kind="stable")] = np.arange(len(rows))
    place = rank[number]
    order = np.argsort(place, kind="stable")
    packed = documents.take(chosen[order])
    per_row = np.bincount(place, minlength=len(rows))
    ends = np.cumsum(packed.lengths)
    row_ends = ends[np.cumsum(per_row) - 1]
    row_lengths = np.diff(row_ends, prepend=0)
    bounds = np.insert(
        ends - np.repeat(row_ends - row_lengths, per_row), np.cumsum(per_row) - per_row, 0
    )
    bounds[np.cumsum(per_row + 1) - 1] -= 1
    return PackedRows(
        ids=packed.ids,
        row_lengths=row_lengths,
        bounds=bounds.astype(np.int32),
        bound_counts=per_row + 1,
        records=packed.records,
        labels=None if packed.loss_mask is None else labels_of(packed.ids, packed.loss_mask),
    )
