"""At which steps rows are seen: the inverse of `order.locate`.

`docs/data_order.md`: row p of an epoch's stream is seen in lane ⌊p / S⌋ at step p mod S. An epoch
costs one sort of the row groups, a row one sort of its own row group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jllm.data import order


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Where a row is seen in one epoch."""

    step: int
    """The global step."""
    lane: int


class SeenSteps:
    """Finds the steps of rows for one seed and global batch size."""

    def __init__(self, group_rows: np.ndarray, seed: int, global_batch_size: int) -> None:
        """`group_rows`: rows of each row group. ValueError where they do not fill one step."""
        self._rows, self._seed, self._size = group_rows, seed, global_batch_size
        self._steps = order.split_step(int(np.sum(group_rows)), global_batch_size, 0)[2]
        self._starts: dict[int, np.ndarray] = {}

    def find(self, epoch: int, group: int, row: int) -> Seen | None:
        """When row `row` of row group `group` is seen in `epoch`; None where that leaves it out."""
        if epoch not in self._starts:
            stream = order.epoch_order(self._rows, self._seed, epoch)
            starts = np.empty(len(stream.groups), np.int64)
            starts[stream.groups] = stream.starts[:-1]
            self._starts[epoch] = starts
        in_order = order.row_order(int(self._rows[group]), self._seed, epoch, group)
        position = int(self._starts[epoch][group]) + int(np.flatnonzero(in_order == row)[0])
        if position >= self._steps * self._size:
            return None
        return Seen(step=epoch * self._steps + position % self._steps, lane=position // self._steps)
