"""The tensors that cross a stage boundary; their shapes and dtypes are fixed for the run.

Receive buffers are allocated from this description, because a back end does not notice by itself
that a message and its buffer differ in size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jllm.parallel.schedule.plan import Message


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One tensor of a boundary."""

    shape: tuple[int, ...]
    """Shape, the same for every micro-batch."""
    dtype: torch.dtype
    """Dtype; only for floating-point tensors a gradient is sent back."""

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}{list(self.shape)}"


Boundary = tuple[TensorSpec, ...]
"""The tensors between two stages; `boundaries[b]` is the boundary of the stages b and b+1."""


def specs(message: Message, boundaries: Sequence[Boundary]) -> Boundary:
    """Return the tensors of `message`: all of the boundary's down, the floating-point ones up."""
    boundary = boundaries[message.boundary]
    if message.kind == "hidden":
        return boundary
    return tuple(spec for spec in boundary if spec.dtype.is_floating_point)


def empty(message: Message, boundaries: Sequence[Boundary], device: torch.device) -> list[Tensor]:
    """Allocate the buffers into which `message` is received."""
    return [torch.empty(s.shape, dtype=s.dtype, device=device) for s in specs(message, boundaries)]


def check(message: Message, boundaries: Sequence[Boundary], tensors: Sequence[Tensor]) -> None:
    """Check `tensors` before they are sent as `message`.

    Raises ValueError where their shapes or dtypes are not those of the boundary.
    """
    wanted = specs(message, boundaries)
    found = tuple(TensorSpec(shape=tuple(t.shape), dtype=t.dtype) for t in tensors)
    if found != wanted:
        raise ValueError(
            f"{message}: the stage gave ({', '.join(map(str, found))}), the boundary carries "
            f"({', '.join(map(str, wanted))})"
        )
