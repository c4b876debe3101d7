"""The table of a partition adds up, and its bubble is that of the schedule."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from jllm.parallel.partition.costs import UnitCost, one_f_one_b_memory
from jllm.parallel.partition.method import partition
from jllm.parallel.partition.table import StageRow, print_partition, stage_rows
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


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_table_is_whole_at_every_width(width: int, terminal: bool) -> None:
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=terminal)
    rows = [
        replace(row, parameters=row.parameters * 10**6, flops=row.flops * 1e12, bytes=9e12)
        for row in rows_of((0, 4, 5, 6), 4)
    ]
    print_partition(console, "fast", (0, 4, 5, 6), rows)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert "--partition_method fast: 0,3,4,4\n" in text
    assert "predicted bubble of the step" in text and "…\n" not in text
    everything = width == 120 or not terminal
    if everything:
        assert "embed … layers.1.attention (4)" in text
    for row in rows:
        assert f"({row.units})" in text and f" {row.bubble:.1%} " in text
        assert f" {row.bytes / 2**20:,.0f} MiB " in text
        for shown in (f"{row.parameters:,}", f"{row.flops:.3e}", f"{row.share:.1%}"):
            assert shown in text or not everything
    assert ("a wider terminal also shows: " in text) == (not everything)
    assert max(map(len, text.splitlines())) <= (width if terminal else 200)
