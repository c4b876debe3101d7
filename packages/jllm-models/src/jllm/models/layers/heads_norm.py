"""The norm of all heads of a token as one vector, instead of a norm per head.

Letters: T tokens, N heads, K head_dim.
"""

import torch
from torch import Tensor

from jllm.models.layers.norm import RMSNorm


class HeadsNorm(RMSNorm):
    """RMSNorm over the N · K elements of a token's heads, with a weight for each of them."""

    def __init__(
        self, heads: int, width: int, eps: float, *, dtype: torch.dtype, device: torch.device | str
    ):
        super().__init__(heads * width, eps, dtype=dtype, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [T, N, K]."""
        return super().forward(x.flatten(1)).view(x.shape)
