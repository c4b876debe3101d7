"""The attention unit: norm, fused query/key/value projection, positions, attention, output.

Letters: T tokens, D hidden_size, H query heads, G key/value heads, K head_dim, N any heads.
"""

import torch
from torch import Tensor, nn

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.layers.attention_backends import Attend
from jllm.models.layers.documents import Documents
from jllm.models.layers.heads_norm import HeadsNorm
from jllm.models.layers.linear import Linear
from jllm.models.layers.norm import RMSNorm
from jllm.models.layers.positions import Positions
from jllm.models.layers.rotary import rotate


class Attention(nn.Module):
    """Grouped-query attention (arXiv:2305.13245) with its norm and residual."""

    def __init__(
        self,
        config: DecoderConfig,
        attend: Attend,
        *,
        window: int | None,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        hidden, width = config.hidden_size, config.head_dim
        heads, kv_heads = config.num_heads, config.num_kv_heads
        place = {"dtype": dtype, "device": device}
        self.attend = attend
        self.window = window
        self.head_dim = width
        self.heads = (heads, kv_heads, kv_heads)
        self.norm = RMSNorm(hidden, config.norm_eps, **place)
        self.qkv = Linear(hidden, sum(self.heads) * width, bias=config.qkv_bias, **place)
        self.norm_behind = config.norm_behind
        self.q_norm = _head_norm(config, heads, **place) if config.qk_norm else None
        self.k_norm = _head_norm(config, kv_heads, **place) if config.qk_norm else None
        self.output = Linear(heads * width, hidden, bias=config.output_bias, **place)

    def forward(self, x_TD: Tensor, documents: Documents, positions: Positions) -> Tensor:
        """Attend within documents; x [T, D] in and out."""
        normed_TD = x_TD if self.norm_behind else self.norm(x_TD)
        qkv_TNK = self.qkv(normed_TD).unflatten(-1, (-1, self.head_dim))
        q_THK, k_TGK, v_TGK = qkv_TNK.split(self.heads, dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            q_THK, k_TGK = self.q_norm(q_THK), self.k_norm(k_TGK)
        if positions.rotary is not None:
            q_THK, k_TGK = rotate(q_THK, positions.rotary), rotate(k_TGK, positions.rotary)
        if positions.query_scale_T11 is not None:
            q_THK = q_THK * positions.query_scale_T11
        mixed_THK = self.attend(
            q_THK, k_TGK, v_TGK, documents, window=self.window, bias_HLL=positions.bias_HLL
        )
        out_TD = self.output(mixed_THK.flatten(1))
        return x_TD + (self.norm(out_TD) if self.norm_behind else out_TD)


def _head_norm(
    config: DecoderConfig, heads: int, *, dtype: torch.dtype, device: torch.device | str
) -> RMSNorm:
    """Return the norm of queries or of keys."""
    if config.qk_norm_whole:
        return HeadsNorm(heads, config.head_dim, config.norm_eps, dtype=dtype, device=device)
    return RMSNorm(config.head_dim, config.norm_eps, dtype=dtype, device=device)
