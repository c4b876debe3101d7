"""A linear layer with uninitialised weights, which are filled from a file or a seed."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """y = x · weightᵀ + bias; weight [out, in] as in Hugging Face files."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = False,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.empty(outputs, dtype=dtype, device=device)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Multiply x [T, in] to [T, out]."""
        return functional.linear(x, self.weight, self.bias)

    def matrix(self) -> Tensor:
        """Return the matrix that inputs are multiplied by, [out, in], for callers that split it."""
        return self.weight
