"""The MLP unit: norm, SwiGLU (arXiv:2002.05202) with gate and up fused, residual.

Letters: T tokens, D hidden_size, F intermediate_size.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.layers.linear import Linear
from jllm.models.layers.norm import RMSNorm


class MLP(nn.Module):
    """x + down(silu(gate(norm(x))) · up(norm(x))), or with the norm around it all."""

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


def swiglu(gate_up_T2F: Tensor) -> Tensor:
    """Return silu(gate) · up of the two halves: [T, 2F] to [T, F]."""
    return _SwiGLU.apply(gate_up_T2F)


class _SwiGLU(torch.autograd.Function):
    """Keeps its input alone; silu(gate) is computed again for the gradient."""

    @staticmethod
    def forward(ctx: Any, gate_up_T2F: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_T2F)
        gate_TF, up_TF = gate_up_T2F.chunk(2, dim=-1)
        return functional.silu(gate_TF).mul_(up_TF)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad_TF: Tensor) -> Tensor:
        (gate_up_T2F,) = ctx.saved_tensors
        gate_TF, up_TF = gate_up_T2F.chunk(2, dim=-1)
        out_T2F = torch.empty_like(gate_up_T2F)
        out_gate_TF, out_up_TF = out_T2F.chunk(2, dim=-1)
        torch.mul(functional.silu(gate_TF), grad_TF, out=out_up_TF)
        torch.mul(grad_TF, up_TF, out=out_gate_TF)
        torch.ops.aten.silu_backward.grad_input(out_gate_TF, gate_TF, grad_input=out_gate_TF)
        return out_T2F
