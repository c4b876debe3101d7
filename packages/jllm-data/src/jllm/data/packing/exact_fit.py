"""Exact packing: rows without gaps, for documents where best fit decreasing leaves gaps.

Best fit decreasing needs short documents to fill gaps. Where there are none (for instance chats
that all begin with the same system prompt), its last rows consist of the shorter documents alone,
whose lengths do not add up to a full row. Here documents are taken in a scattered order, so that
the remaining ones always have the distribution of the whole; a row is closed by a document that
fills it exactly, looked up by its length. A few dozen documents are left at the end; these are
combined by exact subset sums.

About 1 µs a document. Deterministic.
"""

from __future__ import annotations

import numpy as np

from jllm.data.packing.best_fit import best_fit_decreasing

MISSES = 8
"""The number of consecutive documents that do not fit before a row is put off to the end."""
POOL = 512
"""The most documents that are combined by subset sums."""
_SCATTER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 ÷ golden ratio: its first n multiples modulo 2^64 are evenly spread, for every n."""


def pack_exactly(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Return the row (int64 [N], from 0 without gaps) of each document of `lengths` (int [N])."""
    rows, left = _rows_without_gap(np.asarray(lengths, np.int64), capacity)
    rest = np.array(left, np.int64)
    row = np.empty(len(lengths), np.int64)
    if 0 < len(rest) <= POOL:
        chosen = _subset_sums([int(length) for length in lengths[rest]], capacity)
        rows += [rest[documents].tolist() for documents in chosen]
    elif len(rest):
        row[rest] = len(rows) + best_fit_decreasing(lengths[rest], capacity)
    flat = np.array([document for documents in rows for document in documents], np.int64)
    row[flat] = np.repeat(np.arange(len(rows)), [len(documents) for documents in rows])
    return row


def _rows_without_gap(lengths: np.ndarray, capacity: int) -> tuple[list[list[int]], list[int]]:
    """Return the rows (documents of each) that are exactly full, and the documents left over."""
    order = np.argsort(np.arange(len(lengths), dtype=np.uint64) * _SCATTER, kind="stable").tolist()
    shortest, of = int(lengths.min()), lengths.tolist()
    by_length: list[list[int]] = [[] for _ in range(capacity + 1)]
    for document in reversed(order):
        by_length[of[document]].append(document)
    used = [False] * len(of)
    rows: list[list[int]] = []
    left: list[int] = []
    row: list[int] = []
    room, misses = capacity, 0
    for document in order:
        if used[document]:
            continue
        after = room - of[document]
        if after >= shortest or after == 0:
            used[document] = True
            row.append(document)
            room = after
            partners = by_length[room] if room else []
            while partners and used[partners[-1]]:
                partners.pop()
            if partners:
                used[partners[-1]] = True
                row.append(partners.pop())
                room = 0
            if not room:
                rows.append(row)
        else:
            misses += 1
            if misses > MISSES:
                left += row
                room = 0
        if not room:
            row, room, misses = [], capacity, 0
    left += row
    return rows, sorted(left + [document for document, done in enumerate(used) if not done])


def _subset_sums(lengths: list[int], capacity: int) -> list[list[int]]:
    """Build rows: the longest remaining document, with those others that fill the row best.

    `reachable[k]` is the set of sums of the first k documents of the pool, one bit for each sum.
    """
    pool = sorted(range(len(lengths)), key=lambda document: (-lengths[document], document))
    rows = []
    while pool:
        first, *others = pool
        room = capacity - lengths[first]
        allowed = (1 << (room + 1)) - 1
        reachable = [1]
        for document in others:
            reachable.append(reachable[-1] | (reachable[-1] << lengths[document]) & allowed)
            if reachable[-1] >> room:
                break
        row, total, k = [first], reachable[-1].bit_length() - 1, len(reachable) - 1
        while total:
            while reachable[k - 1] >> total & 1:
                k -= 1
            row.append(others[k - 1])
            total -= lengths[others[k - 1]]
            k -= 1
        rows.append(row)
        taken = set(row)
        pool = [document for document in pool if document not in taken]
    return rows
