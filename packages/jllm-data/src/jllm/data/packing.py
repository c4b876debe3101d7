"""Best-fit packing: whole documents into rows of a fixed capacity, in windows of the input.

Best fit decreasing (Johnson, 1973): documents from the longest to the shortest, each into the
fullest row that still has room. Documents of one length, and rows of one remaining capacity, are
interchangeable, so *lengths* are matched with *capacities*, many documents at a time; the work in
Python grows with the number of distinct lengths, not with the number of documents (over 1 million
documents/s on ordinary length distributions).

Deterministic: rows depend on the documents and on the capacity alone. Documents keep their input
order inside a row, and rows are ordered by their first document. Memory is one window of ids.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

import numpy as np

from jllm.data.row_block import DocumentBatch, RowBlock, join_documents, labels_of

WINDOW_IDS = 4 << 20
"""Ids gathered before a window is packed (or 256 rows, where rows are long)."""
FULL_ENOUGH = 0.9995
"""A row this full is written; documents of emptier rows wait for the next window."""
CARRY_AT_MOST = 0.25
"""The part of a window that may wait; more of it cannot be packed better, so it is written."""


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The row (int64 [N], from 0 without gaps) of each document of `lengths` (int [N]).

    Every length must be in 1 … capacity.
    """
    lengths = np.asarray(lengths, np.int64)
    if not len(lengths):
        return np.zeros(0, np.int64)
    assert 1 <= lengths.min() and lengths.max() <= capacity, "a document does not fit a row"
    starts, rows, per_row = _match(np.bincount(lengths), capacity)
    order = np.argsort(-lengths, kind="stable")
    placed = rows * per_row
    match = np.repeat(np.arange(len(starts)), placed)
    within = np.arange(len(lengths)) - np.repeat(np.cumsum(placed) - placed, placed)
    row = np.empty(len(lengths), np.int64)
    row[order] = starts[match] + within // per_row[match]
    return row


def _match(counts: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches of lengths (descending) with ranges of rows: first row, rows, documents a row.

    `room` maps a remaining capacity to ranges (first row, rows) of rows that have it; `sizes` are
    its keys, sorted. Best fit puts as many documents of a length as it can into one row before it
    opens the next one of the same remaining capacity, hence the quotients.
    """
    matches: list[tuple[int, int, int]] = []
    room: dict[int, list[tuple[int, int]]] = {}
    sizes: list[int] = []
    next_row = 0

    def place(first: int, rows: int, per_row: int, left: int) -> None:
        matches.append((first, rows, per_row))
        if left:
            give_back(first, rows, left)

    def give_back(first: int, rows: int, size: int) -> None:
        if size not in room:
            room[size] = []
            insort(sizes, size)
        room[size].append((first, rows))

    for length in np.flatnonzero(counts)[::-1].tolist():
        todo = int(counts[length])
        while todo:
            at = bisect_left(sizes, length)
            if at < len(sizes):
                size = sizes[at]
                first, available = room[size].pop()
                if not room[size]:
                    del room[size], sizes[at]
            else:
                size, first, available = capacity, next_row, -(-todo // (capacity // length))
                next_row += available
            per_row = size // length
            whole = min(todo // per_row, available)
            if whole:
                place(first, whole, per_row, size - per_row * length)
                todo -= whole * per_row
                first, available = first + whole, available - whole
            if available and todo:
                place(first, 1, todo, size - todo * length)
                first, available, todo = first + 1, available - 1, 0
            if available:
                give_back(first, available, size)
    starts, rows, per_row = np.array(matches, np.int64).T
    return starts, rows, per_row


class Packer:
    """Documents in, packed rows out, in windows; what fills rows badly waits for the next one."""

    def __init__(self, capacity: int) -> None:
        """`capacity`: ids a row may hold (max_len)."""
        self._capacity = capacity
        self._window = max(WINDOW_IDS, 256 * capacity)
        self._waiting: list[DocumentBatch] = []
        self._waiting_ids = 0

    def add(self, documents: DocumentBatch) -> Iterator[RowBlock]:
        """Take documents of 2 … capacity ids; yields rows whenever a window is full."""
        if len(documents):
            self._waiting.append(documents)
            self._waiting_ids += len(documents.ids)
        if self._waiting_ids >= self._window:
            yield self._pack(last=False)

    def finish(self) -> Iterator[RowBlock]:
        """Pack all that waits."""
        if self._waiting:
            yield self._pack(last=True)

    def _pack(self, *, last: bool) -> RowBlock:
        documents = join_documents(self._waiting)
        row = best_fit_decreasing(documents.lengths, self._capacity)
        keep = np.zeros(len(documents), bool) if last else self._badly_packed(documents, row)
        rest = np.flatnonzero(keep)
        self._waiting = [documents.take(rest)] if len(rest) else []
        self._waiting_ids = int(documents.lengths[rest].sum())
        return pack_rows(documents, row, np.flatnonzero(~keep))

    def _badly_packed(self, documents: DocumentBatch, row: np.ndarray) -> np.ndarray:
        """Which documents lie in rows that are not full enough; the emptiest rows come first."""
        filled = np.bincount(row, documents.lengths).astype(np.int64)
        emptiest = np.argsort(filled, kind="stable")
        waits = filled[emptiest] < FULL_ENOUGH * self._capacity
        waits &= np.cumsum(filled[emptiest]) <= CARRY_AT_MOST * self._waiting_ids
        carried = np.zeros(len(filled), bool)
        carried[emptiest[waits]] = True
        return carried[row]


def pack_rows(documents: DocumentBatch, row: np.ndarray, chosen: np.ndarray) -> RowBlock:
    """The rows made of the `chosen` documents (int [M], ascending), `row` giving each its row."""
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
    return RowBlock(
        ids=packed.ids,
        row_lengths=row_lengths,
        bounds=bounds.astype(np.int32),
        bound_counts=per_row + 1,
        labels=None if packed.trained is None else labels_of(packed.ids, packed.trained),
    )
