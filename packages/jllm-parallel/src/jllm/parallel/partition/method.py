"""The boundaries of the stages, from the value of `--partition_method` and the costs of the units.

A decoder layer is two sub-layers. With L layers the units are the embedding (0), the 2·L sub-layers
(1 … 2·L) and the head (2·L + 1); sub-layer s of the flag is unit s + 1. The embedding belongs to
the first stage and the head to the last. A stage holds at least one unit.

| value | meaning |
|---|---|
| `uniform` | equal numbers of sub-layers; the earlier stages take the remainder |
| `fast` | minimizes the FLOPs of the slowest stage |
| `mem` | minimizes the memory of the fullest stage under 1F1B |
| `a,b` | a sub-layers in the first stage, b in the last, `fast` between them |
| `0,9,…,N` | the first sub-layer of each stage, then the end of the last, N = 2·L |
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jllm.parallel.partition.balance import balance, interval_sums
from jllm.parallel.partition.costs import FLAG, Memory, UnitCost

NAMED_METHODS = ("fast", "mem", "uniform")


def partition(
    method: str, costs: Sequence[UnitCost], stages: int, *, memory: Memory | None = None
) -> tuple[int, ...]:
    """Return the boundaries 0 = b_0 < … < b_stages = len(costs) of the stages, as unit indices.

    Stage s holds the units b_s … b_{s+1}−1. Only `mem` needs `memory`.

    Raises ValueError that names the flag and the remedy where no such partition exists.
    """
    sub_layers = len(costs) - 2
    if stages < 1:
        raise ValueError(f"--pipe_parallel_size {stages}: a pipeline has at least 1 stage")
    if stages > sub_layers:
        raise ValueError(
            f"--pipe_parallel_size {stages}: the model has {sub_layers} sub-layers "
            f"({sub_layers // 2} layers), fewer than stages; lower it to at most {sub_layers}"
        )
    if method == "uniform":
        return _units([-(-s * sub_layers // stages) for s in range(stages + 1)])
    if method == "fast":
        return _fast(costs, stages)
    if method == "mem":
        return _mem(costs, stages, memory)
    numbers = _numbers(method)
    if stages > 1 and len(numbers) == 2:
        return _first_and_last(method, numbers[0], numbers[1], costs, stages)
    return _list(method, numbers, sub_layers, stages)


def sub_layer_list(boundaries: Sequence[int]) -> str:
    """Return unit boundaries in the form of the flag: `0,9,…,N` in sub-layers."""
    sub_layers = boundaries[-1] - 2
    return ",".join(str(min(max(b - 1, 0), sub_layers)) for b in boundaries)


def _units(sub_layer_bounds: Sequence[int]) -> tuple[int, ...]:
    """Turn sub-layer bounds 0 … N into unit bounds, embedding and head included."""
    return (0, *(bound + 1 for bound in sub_layer_bounds[1:-1]), sub_layer_bounds[-1] + 2)


def _fast(costs: Sequence[UnitCost], stages: int) -> tuple[int, ...]:
    flops = interval_sums(np.array([cost.flops for cost in costs]))
    return balance(lambda _stage: flops, len(costs), stages)


def _mem(costs: Sequence[UnitCost], stages: int, memory: Memory | None) -> tuple[int, ...]:
    assert memory is not None and len(memory.live) == stages, "mem needs a Memory of all stages"
    states = interval_sums(np.array([c.parameters * memory.bytes_per_parameter for c in costs]))
    activations = interval_sums(np.array([c.activation_bytes for c in costs]))
    return balance(lambda s: states + memory.live[s] * activations, len(costs), stages)


def _first_and_last(
    method: str, first: int, last: int, costs: Sequence[UnitCost], stages: int
) -> tuple[int, ...]:
    sub_layers, middle = len(costs) - 2, len(costs) - 2 - first - last
    if min(first, last) < 0 or middle < stages - 2 or (stages == 2 and middle != 0):
        need = "equal" if stages == 2 else f"leave at least {stages - 2} of"
        raise ValueError(
            f"{FLAG} {method}: {first} sub-layers in the first stage and {last} in the last of "
            f"{stages} stages; together they have to {need} the model's {sub_layers} sub-layers"
        )
    if stages == 2:
        return (0, first + 1, len(costs))
    inner = _fast(costs[first + 1 : first + 1 + middle], stages - 2)
    return (0, *(bound + first + 1 for bound in inner), len(costs))


def _list(method: str, numbers: list[int], sub_layers: int, stages: int) -> tuple[int, ...]:
    expected = f"{stages + 1} increasing numbers from 0 to {sub_layers} for {stages} stages"
    if len(numbers) != stages + 1:
        raise ValueError(
            f"{FLAG} {method}: a list of {len(numbers)} boundaries; expected {expected}"
            + (", or a,b (sub-layers of the first and of the last stage)" if stages > 1 else "")
        )
    if numbers[0] != 0 or numbers[-1] != sub_layers:
        raise ValueError(
            f"{FLAG} {method}: goes from {numbers[0]} to {numbers[-1]}; expected {expected} "
            "(a layer is two sub-layers)"
        )
    units = _units(numbers)
    for earlier, later in zip(units, units[1:], strict=False):
        if later <= earlier:
            stage = units.index(earlier)
            raise ValueError(
                f"{FLAG} {method}: stage {stage} would hold nothing "
                f"({numbers[stage]} is followed by {numbers[stage + 1]}); expected {expected}"
            )
    return units


def _numbers(method: str) -> list[int]:
    try:
        return [int(part) for part in method.split(",")]
    except ValueError:
        raise ValueError(
            f"{FLAG} {method}: unknown; use one of {', '.join(NAMED_METHODS)}, two numbers a,b "
            "(sub-layers of the first and of the last stage), or the list of all boundaries"
        ) from None
