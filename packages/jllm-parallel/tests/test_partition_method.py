"""`--partition_method` gives the best stages there are, and refuses what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.parallel.partition.costs import Memory, UnitCost, one_f_one_b_memory
from jllm.parallel.partition.method import partition, sub_layer_list


def unit(flops: float, parameters: int = 1, activation_bytes: float = 1.0) -> UnitCost:
    return UnitCost(
        name="unit", parameters=parameters, flops=flops, activation_bytes=activation_bytes
    )


def even_costs(layers: int) -> list[UnitCost]:
    return [unit(0.0), *[unit(1.0)] * (2 * layers), unit(3.0)]


@st.composite
def models(draw: st.DrawFn) -> tuple[list[UnitCost], int]:
    """Costs of a model of 1 … 4 layers, whole numbers so that sums are exact, and stages for it."""
    layers = draw(st.integers(1, 4))
    number = st.integers(0, 20)
    costs = [
        unit(float(draw(number)), draw(number), float(draw(number))) for _ in range(2 * layers + 2)
    ]
    return costs, draw(st.integers(1, 2 * layers))


def brute_force(
    costs: list[UnitCost], stages: int, cost: Callable[[int, list[UnitCost]], float]
) -> list[tuple[float, ...]]:
    """The costs of the stages in every partition there is."""
    return [
        tuple(cost(s, costs[i:j]) for s, (i, j) in enumerate(pairwise((0, *cuts, len(costs)))))
        for cuts in combinations(range(1, len(costs)), stages - 1)
    ]


def assert_best(
    found: tuple[int, ...],
    costs: list[UnitCost],
    stages: int,
    cost: Callable[[int, list[UnitCost]], float],
) -> None:
    got = tuple(cost(s, costs[i:j]) for s, (i, j) in enumerate(pairwise(found)))
    everything = brute_force(costs, stages, cost)
    least = min(max(values) for values in everything)
    assert max(got) == least
    squares = [sum(v * v for v in values) for values in everything if max(values) == least]
    assert sum(v * v for v in got) == pytest.approx(min(squares), rel=1e-12)


def time_of(_stage: int, units: list[UnitCost]) -> float:
    return sum(cost.flops for cost in units)


@settings(deadline=None, max_examples=80)
@given(models())
def test_fast_is_the_best_of_all_partitions(model: tuple[list[UnitCost], int]) -> None:
    costs, stages = model
    assert_best(partition("fast", costs, stages), costs, stages, time_of)


@settings(deadline=None, max_examples=80)
@given(models(), st.integers(1, 6))
def test_mem_is_the_best_of_all_partitions(model: tuple[list[UnitCost], int], n: int) -> None:
    costs, stages = model
    memory = one_f_one_b_memory(stages, n, bytes_per_parameter=16.0)
    assert memory.live == tuple(min(stages - s, n) for s in range(stages))

    def bytes_of(stage: int, units: list[UnitCost]) -> float:
        states = 16.0 * sum(cost.parameters for cost in units)
        return states + min(stages - stage, n) * sum(cost.activation_bytes for cost in units)

    assert_best(partition("mem", costs, stages, memory=memory), costs, stages, bytes_of)


def test_mem_gives_early_stages_fewer_layers_because_they_hold_more_micro_batches() -> None:
    costs = [unit(1.0, 0, 1.0) for _ in range(22)]
    boundaries = partition("mem", costs, 4, memory=Memory(live=(4, 3, 2, 1)))
    sizes = [j - i for i, j in pairwise(boundaries)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.data())
def test_uniform_gives_every_stage_the_same_number_of_sub_layers(
    layers: int, data: st.DataObject
) -> None:
    stages = data.draw(st.integers(1, 2 * layers))
    boundaries = partition("uniform", even_costs(layers), stages)
    numbers = [int(n) for n in sub_layer_list(boundaries).split(",")]
    sizes = [j - i for i, j in pairwise(numbers)]
    assert sum(sizes) == 2 * layers and max(sizes) - min(sizes) <= 1
    assert (boundaries[0], boundaries[-1]) == (0, 2 * layers + 2)


def test_first_and_last_are_fixed_and_the_middle_is_balanced() -> None:
    assert sub_layer_list(partition("9,5", even_costs(15), 4)) == "0,9,17,25,30"
    assert sub_layer_list(partition("4,0", even_costs(3), 3)) == "0,4,6,6"
    assert sub_layer_list(partition("2,4", even_costs(3), 2)) == "0,2,6"
    heavy = [unit(0.0), *map(unit, (1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0)), unit(0.0)]
    assert sub_layer_list(partition("1,1", heavy, 4)) == "0,1,3,7,8"


@settings(deadline=None, max_examples=60)
@given(models(), st.sampled_from(["fast", "uniform"]))
def test_the_printed_list_gives_the_same_partition(
    model: tuple[list[UnitCost], int], method: str
) -> None:
    costs, stages = model
    boundaries = partition(method, costs, stages)
    assert partition(sub_layer_list(boundaries), costs, stages) == boundaries


@pytest.mark.parametrize(
    ("method", "stages", "message"),
    [
        ("uniform", 7, "--pipe_parallel_size 7: the model has 6 sub-layers .*at most 6"),
        ("fast", 0, "--pipe_parallel_size 0"),
        ("fats", 2, "--partition_method fats: unknown; use one of fast, mem, uniform"),
        ("0,,6", 2, "--partition_method 0,,6: unknown"),
        ("2,3", 2, "2,3: 2 sub-layers .* have to equal the model's 6"),
        ("3,3", 4, "3,3: .* leave at least 2 of the model's 6"),
        ("-1,3", 4, "-1,3: -1 sub-layers"),
        ("0,3,6", 4, "0,3,6: a list of 3 boundaries; expected 5 increasing .* or a,b"),
        ("2,4", 1, "2,4: goes from 2 to 4; expected 2 increasing numbers from 0 to 6"),
        ("0,3,5", 2, "0,3,5: goes from 0 to 5; .* from 0 to 6 .*a layer is two sub-layers"),
        ("0,3,3,6", 3, r"0,3,3,6: stage 1 would hold nothing \(3 is followed by 3\)"),
        ("0,4,2,6", 3, r"0,4,2,6: stage 1 would hold nothing \(4 is followed by 2\)"),
    ],
)
def test_what_cannot_be_is_refused_by_name(method: str, stages: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition(method, even_costs(3), stages)
