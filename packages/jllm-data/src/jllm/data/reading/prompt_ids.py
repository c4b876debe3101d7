"""The numbers that identify RL prompts: no two prompts of a data set may have the same one.

The check holds all numbers in memory, 12 bytes a prompt at its peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jllm.data.reading.dataset import Dataset
from jllm.data.reading.row_groups import RowGroupFiles

_THREADS = 8


def repeated_numbers(numbers: Sequence[np.ndarray], groups: Sequence[str]) -> str:
    """Return a message for the user where a number occurs twice; "" where none does.

    `numbers`: int32 [rows] of each row group; `groups`: the name of each.
    """
    if not numbers:
        return ""
    found = np.concatenate(numbers)
    order = np.argsort(found, kind="stable")
    again = np.flatnonzero(found[order[1:]] == found[order[:-1]])
    if not len(again):
        return ""
    at = again[np.argmin(order[again + 1])]
    starts = np.cumsum([0, *map(len, numbers)])
    places = []
    for row in order[at : at + 2].tolist():
        group = int(np.searchsorted(starts, row, side="right")) - 1
        places.append(f"{groups[group]}, row {row - starts[group]}")
    number, more = found[order[at]], len(again) - 1
    return (
        f"{places[1]}: the prompt has the number {number}, as that of {places[0]} has"
        f"{f' ({more:,} more repeat one)' if more else ''}; a reward function knows prompts by "
        "their numbers: give each its own and convert again"
    )


def repeated_prompts(dataset: Dataset) -> str:
    """Return `repeated_numbers` of a set of RL prompts.

    Reads only the numbers and does not check their digests.
    """
    files, groups = RowGroupFiles(dataset), dataset.row_groups
    with ThreadPoolExecutor(_THREADS) as pool:
        numbers = list(pool.map(files.read_numbers, range(len(groups))))
    return repeated_numbers(numbers, [f"{one.file}, row group {one.index}" for one in groups])
