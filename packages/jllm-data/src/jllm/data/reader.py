"""The lane reader: `read(step)` gives this reader's rows of a global batch, for any step.

The rows are those of `order.locate`: the same global batches for every number of readers. A reader
keeps the decoded row groups in which its lanes stand (at most one a lane, shared where lanes stand
in the same one) and, with read-ahead, up to max(4, lanes / 8) of those that come next, decoded by
one background thread. So sequential steps do not wait, except where all lanes move at once (the
first step, a jump, a new epoch).
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from jllm.data import order
from jllm.data.dataset import Dataset
from jllm.data.row_groups import RowGroupFiles
from jllm.data.rows import Rows, write_nothing


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one global step, in the order of the lanes. L = max_len − 1."""

    step: int
    tokens: np.ndarray
    """int32 [rows, L]"""
    targets: np.ndarray
    """int32 [rows, L]; −100 where nothing is predicted."""
    bounds: list[np.ndarray]
    """Document bounds of each row, int32, strictly increasing, 0…L."""


class LaneReader:
    """Reads the lanes `lanes` (of 0…global_batch_size − 1) of a data set. A context manager.

    Its whole state is the caller's step. `keep_last` (evaluation) reads every row once in ⌈N/G⌉
    steps, the lanes that run out give rows without targets.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        global_batch_size: int,
        lanes: range,
        shuffle: bool = True,
        keep_last: bool = False,
        read_ahead: bool = True,
    ) -> None:
        """Read nothing yet. ValueError where the data set does not fill one step."""
        if not lanes or min(lanes) < 0 or max(lanes) >= global_batch_size:
            raise ValueError(f"lanes are {lanes}, expected some of 0…{global_batch_size - 1}")
        self._dataset, self._lanes = dataset, lanes
        self._seed, self._shuffle = seed, shuffle
        self._size, self._keep_last = global_batch_size, keep_last
        self.steps_per_epoch = self._split(0)[2]
        self._ahead = max(4, len(lanes) // 8) if read_ahead else 0
        self._files = RowGroupFiles(dataset)
        self._thread = ThreadPoolExecutor(1, "jllm-read-ahead") if read_ahead else None
        self._groups: dict[int, Future[Rows]] = {}
        self._epochs: dict[int, order.EpochOrder] = {}
        self._row_orders: dict[tuple[int, int], np.ndarray] = {}

    def read(self, step: int) -> Batch:
        """The rows of this reader's lanes at the global `step` (0 or more), in lane order.

        ValueError names file and row group where a file is damaged (also one read ahead: at the
        step that needs it).
        """
        epoch, inside, steps = self._split(step)
        stream = self._epoch(epoch)
        positions = order.lane_positions(self._lanes, steps, inside)
        places, offsets = stream.find(np.minimum(positions, self._dataset.num_rows - 1))
        held = positions < self._dataset.num_rows
        groups = np.where(held, stream.groups[places], order.NO_ROW)
        self._hold(epoch, inside, dict.fromkeys(groups[held].tolist()))
        shape = (len(self._lanes), self._dataset.max_len - 1)
        tokens, targets = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int32)
        bounds = []
        for i, (group, offset) in enumerate(zip(groups.tolist(), offsets.tolist(), strict=True)):
            if group == order.NO_ROW:
                write_nothing(tokens[i], targets[i], self._dataset.document_end_id)
                bounds.append(np.array([0, shape[1]], dtype=np.int32))
            else:
                row = self._row_order(epoch, group)[offset]
                bounds.append(self._rows(group).write(int(row), tokens[i], targets[i]))
        return Batch(step=step, tokens=tokens, targets=targets, bounds=bounds)

    def close(self) -> None:
        """Stop the background thread (after the row group it is reading) and close all files."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._groups.clear()
        self._files.close()

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _split(self, step: int) -> tuple[int, int, int]:
        rows = self._dataset.num_rows
        return order.split_step(rows, self._size, step, keep_last=self._keep_last)

    def _epoch(self, epoch: int) -> order.EpochOrder:
        if epoch not in self._epochs:
            rows = self._dataset.group_rows
            self._epochs[epoch] = order.epoch_order(rows, self._seed, epoch, self._shuffle)
        return self._epochs[epoch]

    def _row_order(self, epoch: int, group: int) -> np.ndarray:
        if (epoch, group) not in self._row_orders:
            rows = self._dataset.row_groups[group].rows
            found = order.row_order(rows, self._seed, epoch, group, self._shuffle)
            self._row_orders[epoch, group] = found
        return self._row_orders[epoch, group]

    def _rows(self, group: int) -> Rows:
        future = self._groups[group]
        if future.exception() is not None:
            del self._groups[group]  # the next attempt reads it again
        return future.result()

    def _hold(self, epoch: int, inside: int, needed: dict[int, None]) -> None:
        """Let go of what no lane needs soon, start to read what is needed, then what is next.

        `needed` and what is next are ordered: the thread reads them in this order.
        """
        wanted = needed | dict.fromkeys(self._next_groups(epoch, inside, needed))
        for group in [group for group in self._groups if group not in wanted]:
            self._groups.pop(group).cancel()
        for group in [group for group in self._groups if group not in needed]:
            if self._groups[group].cancel():  # not begun: behind what is needed now
                del self._groups[group]
        for group in wanted:
            if group not in self._groups:
                self._groups[group] = self._start(group)
        self._epochs = {e: found for e, found in self._epochs.items() if e in (epoch, epoch + 1)}
        kept = self._row_orders.keys() & {(epoch, group) for group in needed}
        self._row_orders = {key: self._row_orders[key] for key in kept}

    def _next_groups(self, epoch: int, inside: int, needed: dict[int, None]) -> list[int]:
        """Up to `_ahead` row groups that lanes enter next and that are not held for this step."""
        if not self._ahead:
            return []
        steps = self.steps_per_epoch
        entered, _ = order.next_needs(self._epoch(epoch), self._lanes, steps, inside)
        found = [group for group in dict.fromkeys(entered.tolist()) if group not in needed]
        if len(found) < self._ahead:  # the end of the epoch is near
            following = self._epoch(epoch + 1)
            positions = order.lane_positions(self._lanes, steps, 0)
            places, _ = following.find(positions[positions < self._dataset.num_rows])
            first = dict.fromkeys(following.groups[places].tolist())
            found += [group for group in first if group not in needed and group not in found]
        return found[: self._ahead]

    def _start(self, group: int) -> Future[Rows]:
        if self._thread is not None:
            return self._thread.submit(self._files.read, group)
        future: Future[Rows] = Future()
        future.set_result(self._files.read(group))
        return future
