"""The table of a partition adds up, and its bubble is that of the schedule."""

from __future__ import annotations

import pytest
from rich.console import Console

from jllm.parallel.partition.costs import UnitCost, one_f_one_b_memory
from jllm.parallel.partition.method import partition
from jllm.parallel.partition.table import StageRow, partition_table, stage_rows
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import one_f_one_b

NAMES = (
    "embed",
    "layers.0.attention",
    "layers.0.mlp",
    "layers.1.attention",
    "layers.1.mlp",
    "head",
)
COSTS = [
    UnitCost(name=name, parameters=2**20 * (i + 1), flops=float(i), activation_bytes=2.0**20)
    for i, name in enumerate(NAMES)
]


def rows_of(boundaries: tuple[int, ...], micro_batches: int) -> tuple[StageRow, ...]:
    stages = len(boundaries) - 1
    memory = one_f_one_b_memory(stages, micro_batches, bytes_per_parameter=10.0)
    return stage_rows(boundaries, COSTS, check(one_f_one_b(stages, micro_batches)), memory)


def test_rows_add_up_to_the_model() -> None:
    rows = rows_of(partition("fast", COSTS, 3), 4)
    assert sum(row.units for row in rows) == len(COSTS)
    assert sum(row.parameters for row in rows) == sum(cost.parameters for cost in COSTS)
    assert sum(row.flops for row in rows) == 15.0
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert [(row.first_unit, row.last_unit) for row in rows] == [
        ("embed", "layers.1.attention"),
        ("layers.1.mlp", "layers.1.mlp"),
        ("head", "head"),
    ]


def test_bytes_are_states_and_live_activations() -> None:
    first, second = rows_of((0, 2, 6), 8)
    assert first.bytes == 2**20 * (10 * (1 + 2) + 2 * 2)
    assert second.bytes == 2**20 * (10 * (3 + 4 + 5 + 6) + 1 * 4)


def test_the_bubble_of_even_stages_is_the_theoretical_one() -> None:
    even = [UnitCost(name=n, parameters=1, flops=1.0, activation_bytes=1.0) for n in NAMES]
    plan = check(one_f_one_b(3, 4))
    rows = stage_rows((0, 2, 4, 6), even, plan, one_f_one_b_memory(3, 4))
    assert [row.bubble for row in rows] == pytest.approx([2 / 6] * 3)


def test_the_table_can_be_printed() -> None:
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(partition_table("fast", (0, 4, 5, 6), rows_of((0, 4, 5, 6), 4)))
    text = capture.get()
    assert "--partition_method fast: 0,3,4,4" in text
    assert "embed … layers.1.attention (4)" in text
    assert "head (1)" in text
    assert "predicted bubble of the step" in text
