"""Best fit decreasing: pack documents of given lengths into rows of a fixed capacity.

Johnson (1973): documents from the longest to the shortest, each into the fullest row that still has
room. Documents of the same length are interchangeable, and so are rows of the same remaining
capacity. So *lengths* are matched with *capacities*, many documents at a time; the work in Python
grows with the number of distinct lengths, not of documents (several million documents/s on ordinary
distributions).
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Return the row (int64 [N], from 0 without gaps) of each document of `lengths` (int [N]).

    Every length must be in 1 … capacity.
    """
    lengths = np.asarray(lengths, np.int64)
    if not len(lengths):
        return np.zeros(0, np.int64)
    assert lengths.min() >= 1 and lengths.max() <= capacity, "a document does not fit a row"
    starts, rows, per_row = _match(np.bincount(lengths), capacity)
    order = np.argsort(-lengths, kind="stable")
    placed = rows * per_row
    match = np.repeat(np.arange(len(starts)), placed)
    within = np.arange(len(lengths)) - np.repeat(np.cumsum(placed) - placed, placed)
    row = np.empty(len(lengths), np.int64)
    row[order] = starts[match] + within // per_row[match]
    return row


def _match(counts: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match lengths (descending) with ranges of rows: first row, rows, documents per row.

    `room` maps a remaining capacity to the ranges (first row, rows) of rows that have it; `sizes`
    are its keys, sorted. Best fit puts as many documents of a length as possible into one row
    before it opens the next one of the same remaining capacity, hence the quotients.
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
