"""The position of a shuffled row: a pure function of (number of rows, seed, row number).

Row g of all rows has the key splitmix64(h ⊕ g), where h is made from the seed; the shuffled order
is by ascending key. Keys are unique, so there are no ties, and no process needs to know the keys of
others. The order is cut into blocks whose sizes differ by at most one row; their starts are found
without holding all keys. `docs/data_tools.md` is the page for users.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jllm.data.reading.order import splitmix64

_SALT = 2
"""Differs from the salts of `order`: reading shuffles again, with other permutations."""
_CHUNK = 1 << 20
_BITS = 16


def row_keys(seed: int, first: int, stop: int) -> np.ndarray:
    """Return the keys of rows [first, stop) of all rows, uint64 [stop − first]."""
    h = splitmix64(splitmix64(seed & (1 << 64) - 1) ^ _SALT)
    return splitmix64(np.arange(first, stop, dtype=np.uint64) ^ h)


def block_starts(num_rows: int, seed: int, blocks: int) -> np.ndarray:
    """Return the least key of each block (0 for the first), uint64 [blocks]. blocks ≤ num_rows.

    Block b holds the rows of rank ⌊b·N/blocks⌋ to ⌊(b + 1)·N/blocks⌋ − 1 in key order. Makes two
    passes over all keys; memory: 8 bytes · N · blocks / 65 536.
    """
    ranks = np.arange(blocks) * num_rows // blocks
    counts = np.zeros(1 << _BITS, dtype=np.int64)
    for keys in _chunks(num_rows, seed):
        counts += np.bincount(keys >> (64 - _BITS), minlength=len(counts))
    ends = np.cumsum(counts)
    bins = np.searchsorted(ends, ranks, side="right")
    wanted = np.zeros(1 << _BITS, dtype=bool)
    wanted[bins] = True
    kept = [keys[wanted[keys >> (64 - _BITS)]] for keys in _chunks(num_rows, seed)]
    candidates = np.sort(np.concatenate(kept))
    passed = np.cumsum(np.where(wanted, 0, counts))  # keys of lower bins that were not kept
    starts = candidates[ranks - passed[bins]]
    starts[0] = 0
    return starts


def split_blocks(starts: np.ndarray, parts: int) -> np.ndarray:
    """Return lower bounds of `parts` equal key ranges in each block, uint64 [blocks · parts]."""
    ends = [*starts[1:].tolist(), 1 << 64]
    bounds = [
        start + (end - start) * part // parts
        for start, end in zip(starts.tolist(), ends, strict=True)
        for part in range(parts)
    ]
    return np.array(bounds, dtype=np.uint64)


def _chunks(num_rows: int, seed: int) -> Iterator[np.ndarray]:
    for first in range(0, num_rows, _CHUNK):
        yield row_keys(seed, first, min(num_rows, first + _CHUNK))
