"""The lane reader: `read(step)` returns this reader's rows of a global batch, for any step.

The rows are those of `mixture_order.locate` (of one data set: `order.locate`): the same global
batches for every number of readers. A reader keeps the decoded row groups that its lanes are in (at
most one per lane, shared by lanes in the same group). With read-ahead it also keeps up to max(4,
lanes / 8) of the next ones, decoded in the background by `LOCAL_READS` threads, or `REMOTE_READS`
for remote data. So sequential steps do not wait, except where all lanes move at once (the first
step, a jump, a new epoch). The lanes are those of `mixture_order.lanes_reachable`: for one data set
the reader's own, for a mixture a few more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from jllm.data.reading import mixture_order, order
from jllm.data.reading.dataset import Dataset
from jllm.data.reading.lane_cursor import LaneCursor
from jllm.data.reading.mixture import DataMixture
from jllm.data.reading.mixture_order import LaneSpan
from jllm.data.reading.row_decoder import TrainingRows, fill_padding
from jllm.data.reading.row_groups import RowGroupFiles


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The rows of one global step, in the order of the lanes. L = max_len − 1."""

    step: int
    tokens: np.ndarray
    """int32 [rows, L]"""
    targets: np.ndarray
    """int32 [rows, L]; −100 where nothing is predicted."""
    bounds: list[np.ndarray]
    """The document bounds of each row, int32, strictly increasing from 0 to L."""

    def __iter__(self) -> Iterator[np.ndarray | list[np.ndarray]]:
        """Allow unpacking: `tokens, targets, bounds = batch`."""
        return iter((self.tokens, self.targets, self.bounds))


LOCAL_READS = 2
"""The number of local row groups decoded at the same time, for when all lanes move at once."""
REMOTE_READS = 8
"""The number of remote row groups read at the same time: a request mostly waits."""

Group = tuple[int, int]
"""A row group: (data set, number)."""


class LaneReader:
    """Reader of the lanes `lanes` (of 0…global_batch_size − 1) of a data set. A context manager.

    Its whole state is the caller's step. `keep_last` (evaluation on one data set) reads every row
    once in ⌈N/G⌉ steps; lanes that run out give rows without targets.
    """

    def __init__(
        self,
        data: Dataset | DataMixture,
        *,
        seed: int,
        global_batch_size: int,
        lanes: range,
        shuffle: bool = True,
        keep_last: bool = False,
        read_ahead: bool = True,
    ) -> None:
        """Read nothing yet. Raises ValueError where a data set does not fill one step."""
        if not lanes or min(lanes) < 0 or max(lanes) >= global_batch_size:
            raise ValueError(f"lanes are {lanes}, expected some of 0…{global_batch_size - 1}")
        mixture = DataMixture(parts=(data,), weights=(1,)) if isinstance(data, Dataset) else data
        parts = mixture.parts
        for part in parts:
            if part.kind == "rl":
                raise ValueError(
                    f"{part.path}: holds RL prompts, which have no answers to train on; give a "
                    "data set of chats or text"
                )
        assert not keep_last or len(parts) == 1, "a mixture has no last row"
        self._data, self._lanes = mixture, lanes
        self._shares = mixture.shares(global_batch_size)
        self.steps_per_epoch = order.steps_per_epoch(
            mixture.num_rows, global_batch_size, keep_last=keep_last
        )
        self._places = [
            LaneCursor(
                part.group_rows,
                seed=mixture_order.set_seed(seed, d, len(parts)),
                lanes=cut,
                shuffle=shuffle,
                keep_last=keep_last,
            )
            for d, (part, cut) in enumerate(zip(parts, self._shares.lanes, strict=True))
        ]
        self._files = [RowGroupFiles(part) for part in parts]
        threads = REMOTE_READS if any(part.is_remote for part in parts) else LOCAL_READS
        self._pool = ThreadPoolExecutor(threads, "jllm-read-ahead") if read_ahead else None
        self._groups: dict[Group, Future[TrainingRows]] = {}

    def read(self, step: int) -> Batch:
        """Return the rows of this reader's lanes at the global `step` (0 or more), in lane order.

        Raises ValueError with file and row group where a file is damaged (if it was read ahead, at
        the step that needs it).
        """
        if step < 0:
            raise ValueError(f"step is {step}, expected 0 or more")
        spans = mixture_order.lanes_of_step(self._shares, step, self._lanes)
        self._hold(spans, mixture_order.lanes_reachable(self._shares, step, self._lanes))
        shape = (len(self._lanes), self._data.max_len - 1)
        tokens, targets = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int32)
        bounds: list[np.ndarray] = []
        for span in spans:
            groups, rows = self._places[span.data_set].rows(span)
            for group, row in zip(groups.tolist(), rows.tolist(), strict=True):
                i = len(bounds)
                if group == order.NO_ROW:
                    fill_padding(tokens[i], targets[i], self._data.document_end_id)
                    bounds.append(np.array([0, shape[1]], dtype=np.int32))
                else:
                    held = self._rows((span.data_set, group))
                    bounds.append(held.write(row, tokens[i], targets[i]))
        return Batch(step=step, tokens=tokens, targets=targets, bounds=bounds)

    def close(self) -> None:
        """Stop the background threads once the row groups that they are reading are done."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._groups.clear()

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _rows(self, group: Group) -> TrainingRows:
        future = self._groups[group]
        if future.exception() is not None:
            del self._groups[group]  # the next attempt reads it again
        return future.result()

    def _hold(self, spans: list[LaneSpan], standing: list[LaneSpan]) -> None:
        """Drop groups that no lane needs soon; start reading those needed now, then the next ones.

        The threads read in the order of `wanted`.
        """
        needed = self._groups_of(spans)
        wanted = needed | self._groups_of(standing) if self._pool else needed
        wanted |= dict.fromkeys(self._next_groups(standing, wanted))
        stay = wanted | self._groups_of(standing)
        for group in [group for group in self._groups if group not in stay]:
            self._groups.pop(group).cancel()
        for group in [group for group in self._groups if group not in needed]:
            if self._groups[group].cancel():  # not begun: it queues after the groups needed now
                del self._groups[group]
        for group in wanted:
            if group not in self._groups:
                self._groups[group] = self._start(group)
        for d, places in enumerate(self._places):
            own = [span for span in standing if span.data_set == d]
            places.keep(own, {number for data_set, number in stay if data_set == d})

    def _groups_of(self, spans: Iterable[LaneSpan]) -> dict[Group, None]:
        """Return the row groups that lanes are in, in the order of the lanes."""
        return {
            (span.data_set, group): None
            for span in spans
            for group in self._places[span.data_set].groups(span).tolist()
            if group != order.NO_ROW
        }

    def _next_groups(self, standing: list[LaneSpan], held: dict[Group, None]) -> list[Group]:
        """Return the row groups that lanes enter next, without those already held."""
        if self._pool is None:
            return []
        found: list[Group] = []
        for d, places in enumerate(self._places):
            own = [span for span in standing if span.data_set == d]
            count = max(4 // len(self._places), sum(len(span.lanes) for span in own) // 8, 1)
            groups = [(d, group) for group in places.upcoming(own, count + len(held))]
            found += [group for group in groups if group not in held][:count]
        return found

    def _start(self, group: Group) -> Future[TrainingRows]:
        data_set, number = group
        if self._pool is not None:
            return self._pool.submit(self._files[data_set].read, number)
        future: Future[TrainingRows] = Future()
        future.set_result(self._files[data_set].read(number))
        return future
