"""The costs of a model's units, for dividing the model among stages."""

from __future__ import annotations

from dataclasses import dataclass

FLAG = "--partition_method"


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitCost:
    """Costs of one unit: the embedding, a sub-layer (attention or MLP), or the head."""

    name: str
    """Name of the unit, from `jllm.models.config.units.unit_names`."""
    parameters: int
    """Number of its parameters."""
    flops: float
    """FLOPs of the forward of one micro-batch."""
    activation_bytes: float
    """Bytes of activations that one micro-batch keeps here between forward and backward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The quantities that turn the costs of units into the memory of a stage."""

    bytes_per_parameter: float = 20.0
    """Bytes per parameter on one rank: weight and gradient in fp32 (8), and the rank's share of
    the fp32 master weight and the two moments (12 / dp)."""
    live: tuple[int, ...]
    """For each stage, the number of micro-batches whose activations it holds at once."""


def one_f_one_b_memory(
    stages: int, micro_batches: int, *, bytes_per_parameter: float = 20.0
) -> Memory:
    """Return the memory under 1F1B: stage s holds min(stages − s, micro_batches) micro-batches."""
    live = tuple(min(stages - s, micro_batches) for s in range(stages))
    return Memory(bytes_per_parameter=bytes_per_parameter, live=live)
