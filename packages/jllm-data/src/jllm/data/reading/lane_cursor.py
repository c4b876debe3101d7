"""The positions of one data set's lanes: row groups and rows by `order`, kept between steps.

`order.locate` computes the same without state; a reader that goes step by step keeps the order of
the epochs and row groups in which its lanes are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from jllm.data.reading import order
from jllm.data.reading.mixture_order import LaneSpan


class LaneCursor:
    """The positions of one data set's lanes."""

    def __init__(
        self, group_rows: np.ndarray, *, seed: int, lanes: int, shuffle: bool, keep_last: bool
    ) -> None:
        """`lanes`: the number of lanes of the data set. Raises ValueError if they have no row."""
        self._group_rows, self._num_rows = group_rows, int(group_rows.sum())
        self._seed, self._shuffle = seed, shuffle
        self._lanes, self._keep_last = lanes, keep_last
        self.steps_per_epoch = self._split(0)[2]
        self._epochs: dict[int, order.EpochOrder] = {}
        self._row_orders: dict[tuple[int, int], np.ndarray] = {}

    def groups(self, span: LaneSpan) -> np.ndarray:
        """Return the row group of each lane, int64; `order.NO_ROW` for lanes without a row."""
        return self._find(span)[1]

    def rows(self, span: LaneSpan) -> tuple[np.ndarray, np.ndarray]:
        """Return (row group, row in it) of each lane, int64."""
        epoch, groups, offsets = self._find(span)
        rows = [
            self._row_order(epoch, group)[offset] if group != order.NO_ROW else order.NO_ROW
            for group, offset in zip(groups.tolist(), offsets.tolist(), strict=True)
        ]
        return groups, np.array(rows, dtype=np.int64)

    def upcoming(self, spans: Sequence[LaneSpan], count: int) -> list[int]:
        """Return up to `count` row groups that lanes of `spans` enter next, soonest first."""
        when: dict[int, int] = {}
        for span in spans:
            epoch, inside, steps = self._split(span.step)
            groups, entered = order.next_needs(self._epoch(epoch), span.lanes, steps, inside)
            found = list(zip(groups.tolist(), (entered - inside).tolist(), strict=True))
            if len(found) < count:  # the end of the epoch is near
                left = steps - inside
                first = LaneSpan(data_set=span.data_set, lanes=span.lanes, step=span.step + left)
                found += [(g, left) for g in self.groups(first).tolist() if g != order.NO_ROW]
            for group, at in found:
                when[group] = min(at, when.get(group, at))
        return sorted(when, key=lambda group: when[group])[:count]

    def keep(self, spans: Sequence[LaneSpan], groups: Collection[int]) -> None:
        """Drop the orders of past epochs, and of row groups other than `groups`."""
        now = {self._split(span.step)[0] for span in spans}
        kept = now | {epoch + 1 for epoch in now}
        self._epochs = {e: found for e, found in self._epochs.items() if e in kept}
        self._row_orders = {
            (e, g): found for (e, g), found in self._row_orders.items() if e in now and g in groups
        }

    def _split(self, step: int) -> tuple[int, int, int]:
        return order.split_step(self._num_rows, self._lanes, step, keep_last=self._keep_last)

    def _find(self, span: LaneSpan) -> tuple[int, np.ndarray, np.ndarray]:
        epoch, inside, steps = self._split(span.step)
        stream = self._epoch(epoch)
        positions = order.lane_positions(span.lanes, steps, inside)
        places, offsets = stream.find(np.minimum(positions, self._num_rows - 1))
        held = positions < self._num_rows
        return epoch, np.where(held, stream.groups[places], order.NO_ROW), offsets

    def _epoch(self, epoch: int) -> order.EpochOrder:
        if epoch not in self._epochs:
            found = order.epoch_order(self._group_rows, self._seed, epoch, self._shuffle)
            self._epochs[epoch] = found
        return self._epochs[epoch]

    def _row_order(self, epoch: int, group: int) -> np.ndarray:
        if (epoch, group) not in self._row_orders:
            rows = int(self._group_rows[group])
            found = order.row_order(rows, self._seed, epoch, group, self._shuffle)
            self._row_orders[epoch, group] = found
        return self._row_orders[epoch, group]
