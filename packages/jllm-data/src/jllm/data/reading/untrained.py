"""Rows without a trained id, and the first step whose global batch has only such rows.

A scan of a data set reads its labels and bounds, no ids: about 2 s of one core for 100 million ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jllm.data.format.schema import CU_SEQLENS, IGNORE_INDEX, INPUT_IDS, LABELS
from jllm.data.reading import mixture_order, order
from jllm.data.reading.dataset import Dataset
from jllm.data.reading.mixture import DataMixture
from jllm.data.reading.row_decoder import Ragged
from jllm.data.reading.row_groups import RowGroupFiles

_THREADS = 4


def untrained_rows(
    dataset: Dataset, progress: Callable[[int], None] = lambda rows: None
) -> tuple[list[np.ndarray], int]:
    """Scan the labels of a data set that has them.

    Returns, for each row group, bool [rows]: which rows have no target; and the largest label.
    `progress` is called with the number of rows of every finished row group. Raises ValueError for
    a file that cannot be read.
    """
    names = [name for name in dataset.fields if name != INPUT_IDS]
    found, largest = list[np.ndarray](), IGNORE_INDEX
    for lists in _each_group(dataset, names, progress):
        labels = lists[LABELS]
        found.append(_without_target(labels, lists.get(CU_SEQLENS)))
        largest = max(largest, int(labels.values.max(initial=IGNORE_INDEX)))
    return found, largest


def longest_document(dataset: Dataset, progress: Callable[[int], None] = lambda rows: None) -> int:
    """Return the most positions (ids with a prediction) of a document; reads the bounds.

    Rows without bounds, written by other tools, are one document each. Raises ValueError as
    `untrained_rows` does.
    """
    name = CU_SEQLENS if CU_SEQLENS in dataset.fields else INPUT_IDS
    most = 0
    for lists in _each_group(dataset, [name], progress):
        one = lists[name]
        # From one row's bounds to the next row's the difference is below 0.
        lengths = one.lengths - 1 if name == INPUT_IDS else np.diff(one.values)
        most = max(most, int(lengths.max(initial=0)))
    return most


def first_untrained_step(
    data: DataMixture,
    untrained: Sequence[Sequence[np.ndarray]],
    *,
    seed: int,
    global_batch_size: int,
    steps: range,
    shuffle: bool,
) -> int | None:
    """Return the first of `steps` (from 0) whose global batch has no target, or None.

    `untrained`: the result of `untrained_rows`, by data set. If there are at least as many such
    rows as in a global batch, this computes the order of every row that the run reads, with that
    memory and time.
    """
    if not steps or sum(int(rows.sum()) for part in untrained for rows in part) == 0:
        return None
    shares = data.shares(global_batch_size)
    ends = np.array([shares.rows_before(step) for step in range(steps.stop + 1)]).T
    count = np.zeros(steps.stop, np.int64)
    for number, (part, rows) in enumerate(zip(data.parts, untrained, strict=True)):
        own_seed = mixture_order.set_seed(seed, number, len(data.parts))
        lanes, taken = shares.lanes[number], int(ends[number][-1])
        read = _as_read(part, rows, own_seed, lanes, taken, shuffle)
        before = np.concatenate(([0], np.cumsum(read)))[ends[number]]
        count += np.diff(before)
    whole = np.flatnonzero(count[steps.start :] == global_batch_size)
    return steps.start + int(whole[0]) if len(whole) else None


def _as_read(
    part: Dataset, untrained: Sequence[np.ndarray], seed: int, lanes: int, taken: int, shuffle: bool
) -> np.ndarray:
    """Return `untrained` of the first `taken` rows that a run reads of a set, bool [taken]."""
    steps = order.split_step(part.num_rows, lanes, 0)[2]
    epochs = []
    for epoch in range(-(-taken // (steps * lanes))):
        groups = order.epoch_order(part.group_rows, seed, epoch, shuffle).groups.tolist()
        stream = np.concatenate(
            [
                untrained[g][order.row_order(len(untrained[g]), seed, epoch, g, shuffle)]
                for g in groups
            ]
        )
        epochs.append(stream[: steps * lanes].reshape(lanes, steps).T.ravel())
    return np.concatenate(epochs)[:taken] if epochs else np.zeros(0, bool)


def _without_target(labels: Ragged, bounds: Ragged | None) -> np.ndarray:
    """Return which rows have no target, bool [rows]; nothing predicts a document's first id."""
    trained = labels.values != IGNORE_INDEX
    trained[labels.offsets[:-1]] = False
    if bounds is not None:
        inner = np.ones(len(bounds.values), bool)
        inner[bounds.offsets[1:] - 1] = False
        starts = bounds.values + np.repeat(labels.offsets[:-1], bounds.lengths)
        trained[starts[inner]] = False
    sums = np.concatenate(([0], np.cumsum(trained)))[labels.offsets]
    return np.diff(sums) == 0


def _each_group(
    dataset: Dataset, names: Sequence[str], progress: Callable[[int], None]
) -> Iterator[dict[str, Ragged]]:
    files = RowGroupFiles(dataset)
    numbers = range(len(dataset.row_groups))
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(numbers), 4 * _THREADS):  # so that few are held at a time
            part = numbers[start : start + 4 * _THREADS]
            for number, lists in zip(
                part, pool.map(lambda n: files.read_lists(n, names), part), strict=True
            ):
                yield lists
                progress(dataset.row_groups[number].rows)
