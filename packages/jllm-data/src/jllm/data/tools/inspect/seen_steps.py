"""The steps at which rows are seen: the inverse of `order.locate` and `mixture_order.locate`.

`docs/data_order.md`: row p of the stream of an epoch of a data set is in lane ⌊p / S⌋ the row
p mod S, and the run takes the rows of its L lanes in turn. A mixture takes a varying number of rows
a step; the step of the k-th row is found by binary search. An epoch costs one sort of the row
groups, a row one sort of its own row group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jllm.data.reading import mixture_order, order
from jllm.data.reading.mixture_shares import Shares


class SeenSteps:
    """Finder of the steps of rows for one seed and global batch size."""

    def __init__(self, group_rows: Sequence[np.ndarray], shares: Shares, seed: int) -> None:
        """`group_rows`: rows of each row group, by data set, as `mixture_order.locate` takes them.

        Raises ValueError if a data set is smaller than one step.
        """
        self._group_rows, self._shares, self._seed = group_rows, shares, seed
        self._steps = [
            order.split_step(int(np.sum(rows)), lanes, 0)[2]
            for rows, lanes in zip(group_rows, shares.lanes, strict=True)
        ]
        self._starts: dict[tuple[int, int], np.ndarray] = {}

    def find(self, data_set: int, epoch: int, group: int, row: int) -> int | None:
        """Return the global step at which a row is seen in `epoch` (of its data set); both indices
        count from 0. None if that epoch leaves the row out.
        """
        rows, steps = self._group_rows[data_set], self._steps[data_set]
        seed = mixture_order.set_seed(self._seed, data_set, len(self._group_rows))
        in_order = order.row_order(int(rows[group]), seed, epoch, group)
        start = int(self._group_starts(data_set, seed, epoch)[group])
        position = start + int(np.flatnonzero(in_order == row)[0])
        lanes = self._shares.lanes[data_set]
        lane, inside = divmod(position, steps)
        if lane >= lanes:
            return None
        return self._step_of(data_set, (epoch * steps + inside) * lanes + lane)

    def _group_starts(self, data_set: int, seed: int, epoch: int) -> np.ndarray:
        """Return the start of each row group in the stream of an epoch."""
        if (data_set, epoch) not in self._starts:
            stream = order.epoch_order(self._group_rows[data_set], seed, epoch)
            starts = np.empty(len(stream.groups), np.int64)
            starts[stream.groups] = stream.starts[:-1]
            self._starts[data_set, epoch] = starts
        return self._starts[data_set, epoch]

    def _step_of(self, data_set: int, taken: int) -> int:
        """Return the step that takes the data set's row number `taken` (from 0)."""
        low, high = 0, 1
        while self._shares.rows_before(high)[data_set] <= taken:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if self._shares.rows_before(middle)[data_set] <= taken:
                low = middle
            else:
                high = middle
        return low
