"""The order in which rows are trained: pure functions of (row counts, seed, batch size, step).

An epoch is a virtual stream of all N rows: the row groups in a seeded permutation, and the rows of
each group in a seeded permutation. The stream is cut into G equal lanes of S = ⌊N/G⌋ rows (G:
global batch size); step s of the epoch takes row s of every lane. The ≤ G − 1 rows after the last
lane wait for another epoch. Finding a step costs one sort of the row groups and a selection in each
group with a lane: milliseconds, for any step. `docs/data_order.md` is the definition, with a worked
example, detailed enough for a second implementation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np

NO_ROW = -1
"""The row group and row of a lane for which the data set has no row left (evaluation only)."""

_GROUPS_SALT = 0
_ROWS_SALT = 1
_UINT64 = (1 << 64) - 1


@overload
def splitmix64(x: int) -> int: ...
@overload
def splitmix64(x: np.ndarray) -> np.ndarray: ...
def splitmix64(x: int | np.ndarray) -> int | np.ndarray:
    """Hash 64-bit words by a bijection (Steele, Lea and Flood 2014): an int, or a uint64 array.

    z = x + 0x9E3779B97F4A7C15
    z = (z ⊕ (z >> 30)) · 0xBF58476D1CE4E5B9
    z = (z ⊕ (z >> 27)) · 0x94D049BB133111EB
    result = z ⊕ (z >> 31), every sum and product modulo 2^64
    """
    z = (x + 0x9E3779B97F4A7C15) & _UINT64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _UINT64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _UINT64
    return z ^ (z >> 31)


def permutation(n: int, *keys: int) -> np.ndarray:
    """Return the permutation of 0…n−1 that the integers `keys` determine, int64 [n].

    h = 0, then h = splitmix64(h ⊕ (key mod 2^64)) for each key in turn; the result lists the
    indices i by ascending splitmix64(h ⊕ i).
    """
    return np.argsort(_hashes(n, *keys))  # a bijection, so no ties: any sort gives the same


def _hashes(n: int, *keys: int) -> np.ndarray:
    h = 0
    for key in keys:
        h = splitmix64(h ^ (key & _UINT64))
    return splitmix64(np.arange(n, dtype=np.uint64) ^ h)


def steps_per_epoch(num_rows: int, global_batch_size: int, *, keep_last: bool = False) -> int:
    """Return the number of steps in one epoch: ⌊N/G⌋, or ⌈N/G⌉ with `keep_last`. May be 0."""
    if global_batch_size < 1:
        raise ValueError(f"global_batch_size is {global_batch_size}, expected at least 1")
    return (num_rows + (global_batch_size - 1 if keep_last else 0)) // global_batch_size


def row_order(rows: int, seed: int, epoch: int, group: int, shuffle: bool = True) -> np.ndarray:
    """Return the rows of row group `group` in the order of this epoch, int64 [rows]."""
    return permutation(rows, seed, epoch, _ROWS_SALT, group) if shuffle else np.arange(rows)


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """The row groups of one epoch in stream order. A *place* is an index into this order."""

    groups: np.ndarray
    """int64 [n]: the row group at each place."""
    starts: np.ndarray
    """int64 [n + 1]: the stream position of the first row of each place; last N."""

    def find(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (place, row in the group's order) of stream positions in 0…N−1, int64 [k]."""
        places = np.searchsorted(self.starts, positions, side="right") - 1
        return places, positions - self.starts[places]


def epoch_order(group_rows: np.ndarray, seed: int, epoch: int, shuffle: bool = True) -> EpochOrder:
    """Return one epoch's stream; `group_rows`: rows of each group, int64 [n]. One sort of n."""
    rows = np.asarray(group_rows, dtype=np.int64)
    groups = permutation(len(rows), seed, epoch, _GROUPS_SALT) if shuffle else np.arange(len(rows))
    starts = np.concatenate(([0], np.cumsum(rows[groups], dtype=np.int64)))
    return EpochOrder(groups=groups, starts=starts)


def split_step(
    num_rows: int, global_batch_size: int, step: int, *, keep_last: bool = False
) -> tuple[int, int, int]:
    """Return (epoch, step inside it, steps per epoch) of a global step.

    Raises ValueError for a negative step and for a data set that does not fill one step.
    """
    steps = steps_per_epoch(num_rows, global_batch_size, keep_last=keep_last)
    if steps == 0:
        raise ValueError(
            f"the data set has {num_rows} rows, global_batch_size {global_batch_size} needs at "
            "least that many for one step: take a smaller global batch or more data"
        )
    if step < 0:
        raise ValueError(f"step is {step}, expected 0 or more")
    return step // steps, step % steps, steps


def locate(
    group_rows: np.ndarray,
    seed: int,
    global_batch_size: int,
    step: int,
    lanes: range,
    shuffle: bool = True,
    keep_last: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which row each of `lanes` takes at `step`: (row group, row in it).

    Both are int64 [len(lanes)]. `lanes` lie in 0…G−1. With `keep_last` a lane without a row gets
    (NO_ROW, NO_ROW).
    """
    num_rows = int(np.sum(group_rows))
    epoch, step, steps = split_step(num_rows, global_batch_size, step, keep_last=keep_last)
    order = epoch_order(group_rows, seed, epoch, shuffle)
    positions = lane_positions(lanes, steps, step)
    held = positions < num_rows
    group = np.full(len(positions), NO_ROW, dtype=np.int64)
    row = np.full(len(positions), NO_ROW, dtype=np.int64)
    places, offsets = order.find(positions[held])
    group[held] = order.groups[places]
    row[held] = _rows_at(group[held], offsets, group_rows, seed, epoch, shuffle)
    return group, row


def lane_positions(lanes: range, steps: int, step: int) -> np.ndarray:
    """Return each lane's stream position at a step of its epoch: lane·S + step, int64 [lanes]."""
    return np.arange(lanes.start, lanes.stop, lanes.step, dtype=np.int64) * steps + step


def next_needs(
    order: EpochOrder, lanes: range, steps: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row group that each lane enters next in this epoch, soonest first, and when.

    Returns (groups int64 [k], steps inside the epoch int64 [k]). Lanes that stay in their group to
    the end of the epoch (or of the data) are left out.
    """
    positions = lane_positions(lanes, steps, step)
    num_rows = order.starts[-1]
    positions = positions[positions < num_rows]
    places, offsets = order.find(positions)
    ends = order.starts[places + 1]
    when = ends - positions + step
    moves = (when < steps) & (ends < num_rows)
    soonest = np.argsort(when[moves], kind="stable")
    entered, _ = order.find(ends[moves][soonest])
    return order.groups[entered], when[moves][soonest]


def _rows_at(
    groups: np.ndarray, offsets: np.ndarray, group_rows: np.ndarray, seed: int, epoch: int,
    shuffle: bool,
) -> np.ndarray:  # fmt: skip
    """Return `row_order` of `groups` at `offsets`, by a selection per group instead of a sort."""
    rows = offsets.copy()
    if shuffle:
        for group in np.unique(groups):
            lanes = np.flatnonzero(groups == group)
            hashes = _hashes(int(group_rows[group]), seed, epoch, _ROWS_SALT, int(group))
            rows[lanes] = np.argpartition(hashes, offsets[lanes])[offsets[lanes]]
    return rows
