"""Merging a weight with its adapter: weight + scale · B · A, in float64 and rounded once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jllm.models.lora.layers import LoraLinear


def merged(weight_OI: Tensor, a_RI: Tensor, b_OR: Tensor, scale: float) -> Tensor:
    """Return weight + scale · b · a on the host, in the weight's dtype; 16 bytes per element."""
    product_OI = b_OR.to("cpu", torch.float64) @ a_RI.to("cpu", torch.float64)
    return product_OI.mul_(scale).add_(weight_OI.to("cpu")).to(weight_OI.dtype)


@dataclass(frozen=True)
class MergedRows:
    """Rows [start, …) of an adapted parameter, merged piece by piece when they are read."""

    linear: LoraLinear
    start: int

    @torch.no_grad()
    def __getitem__(self, index: Sequence[slice]) -> Tensor:
        """Return the merged values of a box, given by two slices with start and stop."""
        rows, columns = index
        low, high = self.start + rows.start, self.start + rows.stop
        linear, rank = self.linear, self.linear.rank
        pieces, position = [], low
        for number, part in enumerate(linear.parts):
            first, last = max(low, part.start), min(high, part.stop)
            if first >= last:
                continue
            pieces.append(linear.weight[position:first, columns].to("cpu"))
            a_RI = linear.lora_A[number * rank : (number + 1) * rank, columns]
            offset = part.offset - part.start
            b_OR = linear.lora_B[first + offset : last + offset]
            pieces.append(merged(linear.weight[first:last, columns], a_RI, b_OR, linear.scale))
            position = last
        pieces.append(linear.weight[position:high, columns].to("cpu"))
        return torch.cat(pieces)
