"""The table of a partition, printed before a run: one row per stage, and the predicted bubble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from jllm.data.runtime.tables import Column, print_table
from jllm.parallel.partition.costs import Memory, UnitCost
from jllm.parallel.partition.method import sub_layer_list
from jllm.parallel.schedule.plan import Plan
from jllm.parallel.schedule.simulate import simulate, stage_durations


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRow:
    """One stage in the table."""

    stage: int
    """Number of the stage, from 0."""
    first_unit: str
    """Name of its first unit."""
    last_unit: str
    """Name of its last unit."""
    units: int
    """Number of its units."""
    parameters: int
    """Number of its parameters."""
    flops: float
    """FLOPs of the forward of one micro-batch."""
    bytes: float
    """Predicted bytes of weights, gradients, optimizer state and live activations."""
    share: float
    """Its fraction of the model's FLOPs, 0 … 1."""
    bubble: float
    """Predicted fraction of the step, 0 … 1, that it waits; transfers are assumed to be free."""


def stage_rows(
    boundaries: Sequence[int], costs: Sequence[UnitCost], plan: Plan, memory: Memory
) -> tuple[StageRow, ...]:
    """Return one row per stage for the partition `boundaries` of the units `costs`, run by `plan`.

    The bubble is simulated with times proportional to FLOPs; a backward counts as two forwards.
    """
    stages = [costs[i:j] for i, j in zip(boundaries, boundaries[1:], strict=False)]
    flops = tuple(sum(cost.flops for cost in units) for units in stages)
    timeline = simulate(plan, stage_durations(flops, tuple(2 * f for f in flops)))
    return tuple(
        StageRow(
            stage=s,
            first_unit=units[0].name,
            last_unit=units[-1].name,
            units=len(units),
            parameters=sum(cost.parameters for cost in units),
            flops=flops[s],
            bytes=_bytes(units, memory, s),
            share=flops[s] / sum(flops),
            bubble=timeline.idle[s] / timeline.step_time,
        )
        for s, units in enumerate(stages)
    )


def print_partition(
    console: Console, method: str, boundaries: Sequence[int], rows: Sequence[StageRow]
) -> None:
    """Print the rows as a table, under the flag value that lists the same boundaries."""
    bubble = sum(row.bubble for row in rows) / len(rows)
    title = f"--partition_method {method}: {sub_layer_list(boundaries)}"
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    units = [
        f"{row.first_unit if row.units == 1 else f'{row.first_unit} … {row.last_unit}'}"
        f" ({row.units})"
        for row in rows
    ]
    word = max(len(word) for text in units for word in text.split())
    columns = [
        Column(name="stage", cells=[str(row.stage) for row in rows]),
        Column(name="units", cells=units, folds=word),
        Column(name="parameters", cells=[f"{row.parameters:,}" for row in rows], rank=1),
        Column(name="FLOPs", cells=[f"{row.flops:.3e}" for row in rows], rank=3),
        Column(name="bytes", cells=[f"{row.bytes / 2**20:,.0f} MiB" for row in rows]),
        Column(name="share", cells=[f"{row.share:.1%}" for row in rows], rank=2),
        Column(name="bubble", cells=[f"{row.bubble:.1%}" for row in rows]),
    ]
    print_table(console, columns)
    console.print(f"predicted bubble of the step: {bubble:.1%}", highlight=False)


def _bytes(units: Sequence[UnitCost], memory: Memory, stage: int) -> float:
    states = memory.bytes_per_parameter * sum(cost.parameters for cost in units)
    return states + memory.live[stage] * sum(cost.activation_bytes for cost in units)
