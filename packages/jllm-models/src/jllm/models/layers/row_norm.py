"""Dividing the rows of a matrix by their L2 norms, in fp32 whatever its dtype.

The gradient is written out, so that only one fp32 number per row is kept beside the matrix. Takes a
copy of the matrix while it is used. Letters: V rows, D width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORTEST = 1e-12
"""Least divisor of a row, in place of a smaller norm."""


def unit_rows(weight_VD: Tensor) -> Tensor:
    """Return weight / ‖row‖ for every row, in the dtype of weight."""
    return _UnitRows.apply(weight_VD)


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_VD: Tensor) -> Tensor:
        wide_VD = weight_VD.float()
        length_V1 = torch.linalg.vector_norm(wide_VD, dim=-1, keepdim=True).clamp_(min=SHORTEST)
        ctx.save_for_backward(weight_VD, length_V1)
        return (wide_VD / length_V1).to(weight_VD.dtype)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad_VD: Tensor) -> Tensor:
        weight_VD, length_V1 = ctx.saved_tensors
        rows_VD, wide_VD = weight_VD.float() / length_V1, grad_VD.float()
        along_V1 = (wide_VD * rows_VD).sum(-1, keepdim=True)
        return wide_VD.addcmul(rows_VD, along_V1, value=-1).div_(length_V1).to(weight_VD.dtype)
