"""Flags: parallelism."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """How the work is laid out and the memory kept small: of the results, at most the rounding."""

    pipe_parallel_size: int = 1
    """Pipeline stages."""
    micro_batch_size: int = 1
    """Rows that go through the model at once."""
    checkpoint_grad_interval: int = 0
    """Recompute every k-th sub-layer's activations in the backward pass to save memory. 0: none, 1:
    all."""
    partition_method: str = "fast"
    """How sub-layers go to stages: fast (equal time), mem (equal memory), uniform, `a,b`
    (sub-layers of the first and the last stage) or all boundaries `0,9,18,…`."""
    schedule: Literal["1f1b", "gpipe"] = "1f1b"
    """Order of forward and backward passes in a pipeline. The results are the same bits."""
