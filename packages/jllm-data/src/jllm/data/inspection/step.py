"""The rows of one training step, row by row: asked of the functions that the reader asks."""

from __future__ import annotations

from dataclasses import dataclass

from jllm.data import order
from jllm.data.dataset import Dataset
from jllm.data.inspection.shown import ShownRow, show_rows
from jllm.data.inspection.token_text import TokenText


@dataclass(frozen=True, kw_only=True)
class ShownStep:
    """A global batch."""

    step: int
    epoch: int
    steps_per_epoch: int
    seed: int
    rows: tuple[ShownRow, ...]
    """Of each lane."""


def show_step(
    dataset: Dataset, step: int, seed: int, global_batch_size: int, text: TokenText | None,
    *, decode: bool,
) -> ShownStep:  # fmt: skip
    """The rows that every lane reads at `step`. ValueError where the data fills no step."""
    epoch, _, steps = order.split_step(dataset.num_rows, global_batch_size, step)
    lanes = range(global_batch_size)
    groups, rows = order.locate(dataset.group_rows, seed, global_batch_size, step, lanes)
    places = list(zip(groups.tolist(), rows.tolist(), strict=True))
    return ShownStep(
        step=step,
        epoch=epoch,
        steps_per_epoch=steps,
        seed=seed,
        rows=tuple(show_rows(dataset, places, text, decode=decode)),
    )
