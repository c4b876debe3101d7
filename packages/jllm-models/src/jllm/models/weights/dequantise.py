"""Multiplying 8-bit values by the scales of their blocks, for any box of a matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor

from jllm.models.weights.blocks import Blocks
from jllm.models.weights.slices import Box

QUANTISED = torch.float8_e4m3fn
"""Dtype of the tensors that have scales beside them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scales:
    """The scales of the blocks that a slice touches."""

    values: Tensor
    """Two-dimensional, of any floating-point dtype."""
    there: Box
    """Their box in the whole matrix of scales."""
    blocks: Blocks

    def times(self, values: Tensor, there: Box) -> Tensor:
        """Return value · scale in float32 for the float8 values of a box of the whole matrix."""
        rows, columns = (
            torch.arange(start, stop) // block - low
            for (start, stop), block, (low, _) in zip(there, self.blocks, self.there, strict=True)
        )
        wide = self.values.float().index_select(0, rows).index_select(1, columns)
        return wide.mul_(values.float())
