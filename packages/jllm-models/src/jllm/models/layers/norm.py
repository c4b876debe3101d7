"""Root-mean-square normalisation (arXiv:1910.07467), computed in fp32 whatever the input.

The gradient is written out, so that only the input and one fp32 number per row are kept, and no
intermediate of the input's size. Letters: … leading dimensions, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class RMSNorm(nn.Module):
    """y = weight · x / sqrt(mean(x²) + eps) over the last dimension; dtype of x."""

    def __init__(self, width: int, eps: float, *, dtype: torch.dtype, device: torch.device | str):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(width, dtype=dtype, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [..., D]."""
        return _RMSNorm.apply(x, self.weight, self.eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        scale = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        scale = scale.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, weight)
        return (wide * scale).to(x.dtype).mul_(weight)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, scale, weight = ctx.saved_tensors
        wide_grad, wide_weight = grad.float(), weight.float()
        normed = x.float() * scale
        product = wide_grad * normed
        grad_weight = product.flatten(0, -2).sum(0).to(weight.dtype)
        # Not a matrix-vector product: there the bits of a row depend on the rows beside it.
        mean = product.mul_(wide_weight).sum(-1, keepdim=True).div_(x.shape[-1])
        grad_x = torch.mul(wide_grad, wide_weight, out=product).addcmul_(normed, mean, value=-1)
        return grad_x.mul_(scale).to(x.dtype), grad_weight, None
