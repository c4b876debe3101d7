"""The rows of a step of a mixture: pure functions of (row counts, weights, seed, batch size, step).

Each data set is cut into lanes of its own, as many as the most rows that any step takes from it
(`Shares.lanes`). `order` reads it as if that number were its global batch: the k-th row that the
run takes from it is row k div lanes of lane k mod lanes. A step takes the next rows of each data
set and places them in the order of data sets and lanes. So a lane of a data set moves by at most Σ
lanes − G places of the global batch (0 where every step takes the same number of rows), and a
reader of n places reads at most n + Σ lanes − G lanes at a time. A single data set gives
`order.locate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jllm.data.reading import order
from jllm.data.reading.mixture_shares import Shares


@dataclass(frozen=True, kw_only=True)
class LaneSpan:
    """Adjacent lanes of one data set that are at the same step of it."""

    data_set: int
    lanes: range
    step: int
    """The step of the data set: each of its lanes gives one row per step."""


def set_seed(seed: int, data_set: int, data_sets: int) -> int:
    """Return the seed of a data set's order: splitmix64(splitmix64(seed) ⊕ d); alone, the seed."""
    mask = (1 << 64) - 1
    return seed if data_sets == 1 else order.splitmix64(order.splitmix64(seed & mask) ^ data_set)


def lanes_of_step(shares: Shares, step: int, places: range | None = None) -> list[LaneSpan]:
    """Return the lanes that fill `places` of the global batch of `step`, in order.

    `places`: None for all.
    """
    now, then = shares.rows_before(step), shares.rows_before(step + 1)
    spans = []
    for d, (lanes, first, end) in enumerate(zip(shares.lanes, now, then, strict=True)):
        row, lane = divmod(first, lanes)
        wrapped = max(0, lane + end - first - lanes)
        spans.append(LaneSpan(data_set=d, lanes=range(wrapped), step=row + 1))
        spans.append(
            LaneSpan(data_set=d, lanes=range(lane, lane + end - first - wrapped), step=row)
        )
    if places is None:
        return [span for span in spans if span.lanes]
    found, offset = [], 0
    for span in spans:
        part = span.lanes[max(0, places.start - offset) : max(0, places.stop - offset)]
        offset += len(span.lanes)
        if part:
            found.append(LaneSpan(data_set=span.data_set, lanes=part, step=span.step))
    return found


def lanes_reachable(shares: Shares, step: int, places: range) -> list[LaneSpan]:
    """Return the lanes that `places` may take from `step` on, each at its next row."""
    spare = sum(shares.lanes) - shares.global_batch_size
    spans, offset = [], 0
    for d, (lanes, first) in enumerate(zip(shares.lanes, shares.rows_before(step), strict=True)):
        row, lane = divmod(first, lanes)
        low, high = max(0, places.start - offset), min(lanes, places.stop + spare - offset)
        offset += lanes
        here, passed = range(max(low, lane), high), range(low, min(lane, high))
        for part, at in ((here, row), (passed, row + 1)):
            if part:
                spans.append(LaneSpan(data_set=d, lanes=part, step=at))
    return spans


def locate(
    group_rows: Sequence[np.ndarray],
    shares: Shares,
    seed: int,
    step: int,
    places: range,
    shuffle: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which row each of `places` takes at `step`: (data set, row group, row).

    Each is int64 [n]. `group_rows`: the rows of each row group, by data set. Raises ValueError for
    a data set with fewer rows than lanes.
    """
    found = []
    for span in lanes_of_step(shares, step, places):
        own, d = group_rows[span.data_set], span.data_set
        groups, rows = order.locate(
            own, set_seed(seed, d, len(group_rows)), shares.lanes[d], span.step, span.lanes, shuffle
        )
        found.append((np.full(len(rows), d, dtype=np.int64), groups, rows))
    sets, groups, rows = (np.concatenate(part) for part in zip(*found, strict=True))
    return sets, groups, rows
