"""The rows of one training step, found with the functions that the reader uses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jllm.data.reading import mixture_order, order
from jllm.data.reading.mixture import DataMixture
from jllm.data.tools.inspect.row_view import ShownRow, show_rows
from jllm.data.tools.inspect.token_text import TokenText


@dataclass(frozen=True, kw_only=True)
class ShownStep:
    """The rows of a global batch."""

    step: int
    """Counted from 1, as is the epoch."""
    epoch: int
    steps_per_epoch: int
    seed: int
    rows: tuple[ShownRow, ...]
    """The rows of each lane; in a mixture, file names are prefixed with the data set's name."""


def show_step(
    data: DataMixture, step: int, seed: int, global_batch_size: int, text: TokenText | None,
    *, decode: bool,
) -> ShownStep:  # fmt: skip
    """Return the rows that every lane reads at `step` (1 or more).

    Raises ValueError if a data set is smaller than one step.
    """
    steps = order.steps_per_epoch(data.num_rows, global_batch_size)
    sets, groups, rows = mixture_order.locate(
        [part.group_rows for part in data.parts],
        data.shares(global_batch_size),
        seed,
        step - 1,
        range(global_batch_size),
    )
    shown: dict[int, ShownRow] = {}
    for number, part in enumerate(data.parts):
        lanes = np.flatnonzero(sets == number)
        places = list(zip(groups[lanes].tolist(), rows[lanes].tolist(), strict=True))
        for lane, row in zip(lanes.tolist(), show_rows(part, places, text, decode=decode),
                             strict=True):  # fmt: skip
            name = row.file if len(data.parts) == 1 else f"{part.path.name}/{row.file}"
            shown[lane] = replace(row, file=name)
    return ShownStep(
        step=step,
        epoch=(step - 1) // steps + 1,
        steps_per_epoch=steps,
        seed=seed,
        rows=tuple(shown[lane] for lane in range(global_batch_size)),
    )
