"""The MLP unit: norm, SwiGLU (arXiv:2002.05202) with gate and up fused, residual.

Letters: T tokens, D hidden_size, F intermediate_size.
"""

import torch
from torch import Tensor, nn

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.layers.activation import swiglu
from jllm.models.layers.linear import Linear
from jllm.models.layers.norm import RMSNorm


class MLP(nn.Module):
    """x + down(silu(gate(norm(x))) · up(norm(x))), or with the norm after down instead."""

    def __init__(self, config: DecoderConfig, *, dtype: torch.dtype, device: torch.device | str):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.norm_behind = config.norm_behind
        self.norm = RMSNorm(config.hidden_size, config.norm_eps, **place)
        self.gate_up = Linear(config.hidden_size, 2 * config.intermediate_size, **place)
        self.down = Linear(config.intermediate_size, config.hidden_size, **place)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Transform each token; x [T, D] in and out."""
        if self.norm_behind:
            return x_TD + self.norm(self.down(swiglu(self.gate_up(x_TD))))
        return x_TD + self.down(swiglu(self.gate_up(self.norm(x_TD))))
