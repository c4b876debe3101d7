"""What one unit of a model costs, as far as dividing the model among stages is concerned."""

from __future__ import annotations

from dataclasses import dataclass

FLAG = "--partition_method"


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitCost:
    """Costs of the embedding, of a sub-layer (attention or MLP), or of the head."""

    name: str
    """The unit's name, as `jllm.models.config.units.unit_names` gives it."""
    parameters: int
    """Number of parameters that it holds."""
    flops: float
    """FLOPs of the forward of one micro-batch."""
    activation_bytes: float
    """Bytes that one micro-batch keeps here between forward and backward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """How the bytes of a stage follow from its units."""

    bytes_per_parameter: float = 20.0
    """Bytes of a rank for one parameter: weight and gradient in fp32 (8), and the rank's share of
    the fp32 master weight and the two moments (12 / dp)."""
    live: tuple[int, ...]
    """For each stage the number of micro-batches whose activations it holds at once."""


def one_f_one_b_memory(
    stages: int, micro_batches: int, *, bytes_per_parameter: float = 20.0
) -> Memory:
    """Memory under 1F1B: stage s holds min(stages − s, micro_batches) micro-batches."""
    live = tuple(min(stages - s, micro_batches) for s in range(stages))
    return Memory(bytes_per_parameter=bytes_per_parameter, live=live)
