"""Multi-head latent attention (MLA, arXiv:2405.04434 §2.1): norm, projections, attention, output.

The keys and values of all heads are computed from one short latent vector per token; in addition
all heads share one rotated key. A cache needs only these two. Queries may be computed from a latent
vector too.

Letters: T tokens, D hidden_size, H heads, K head_dim (N of it not rotated, R rotated), V width of
a value, C width of the latent vector of keys and values, X = N + V.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from jllm.models.config.decoder_config import DecoderConfig, LatentConfig
from jllm.models.layers.attention_backends import Attend
from jllm.models.layers.documents import Documents
from jllm.models.layers.linear import Linear
from jllm.models.layers.norm import RMSNorm
from jllm.models.layers.positions import Positions
from jllm.models.layers.rotary import rotate


class AttendLatent(Protocol):
    """Causal attention within each document, to keys and values computed from latent vectors."""

    def __call__(
        self,
        q_THK: Tensor,
        latent_TC: Tensor,
        key_TR: Tensor,
        up_HXC: Tensor,
        documents: Documents,
        *,
        scale: float,
    ) -> Tensor:
        """Return [T, H, V].

        key_TR: the rotated key of all heads. up_HXC: for each head, the matrix from a latent vector
        to its key and, below, to its value. scale: factor of the scores.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Expanded:
    """Attention to the expanded keys and values of every head, as in training."""

    attend: Attend

    def __call__(
        self,
        q_THK: Tensor,
        latent_TC: Tensor,
        key_TR: Tensor,
        up_HXC: Tensor,
        documents: Documents,
        *,
        scale: float,
    ) -> Tensor:
        """Attend as described by `AttendLatent`."""
        heads, plain = q_THK.shape[1], q_THK.shape[2] - key_TR.shape[1]
        both_THX = functional.linear(latent_TC, up_HXC.flatten(0, 1)).unflatten(-1, (heads, -1))
        key_TN, v_THV = both_THX.split((plain, both_THX.shape[-1] - plain), dim=-1)
        k_THK = torch.cat([key_TN, key_TR[:, None, :].expand(-1, heads, -1)], dim=-1)
        return self.attend(q_THK, k_THK, v_THV, documents, scale=scale)


class LatentAttention(nn.Module):
    """Multi-head latent attention with its norm and residual."""

    def __init__(
        self,
        config: DecoderConfig,
        latent: LatentConfig,
        attend: Attend,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        hidden, heads, rank = config.hidden_size, config.num_heads, latent.rank
        eps, place = latent.norm_eps, {"dtype": dtype, "device": device}
        self.attend: AttendLatent = Expanded(attend=attend)
        self.latent = latent
        self.head_dim = config.head_dim
        self.norm = RMSNorm(hidden, config.norm_eps, **place)
        queries, source = heads * config.head_dim, latent.query_rank
        if source is None:
            self.q_down = self.q_norm = None
        else:
            self.q_down = Linear(hidden, source, bias=config.qkv_bias, **place)
            self.q_norm = RMSNorm(source, eps, **place)
        self.q_up = Linear(source or hidden, queries, **place)
        self.kv_down = Linear(hidden, rank + latent.rotary_dim, bias=config.qkv_bias, **place)
        self.kv_norm = RMSNorm(rank, eps, **place)
        width = config.head_dim - latent.rotary_dim + latent.value_dim
        self.kv_up = Linear(rank, heads * width, **place)
        self.output = Linear(heads * latent.value_dim, hidden, bias=config.output_bias, **place)

    def forward(self, x_TD: Tensor, documents: Documents, positions: Positions) -> Tensor:
        """Attend within documents; x [T, D] in and out."""
        assert positions.rotary is not None
        normed_TD = self.norm(x_TD)
        short = normed_TD
        if self.q_down is not None and self.q_norm is not None:
            short = self.q_norm(self.q_down(normed_TD))
        q_THK = self.q_up(short).unflatten(-1, (-1, self.head_dim))
        down = self.kv_down(normed_TD)
        latent_TC, key_TR = down.split((self.latent.rank, self.latent.rotary_dim), dim=-1)
        mixed_THV = self.attend(
            rotate(q_THK, positions.rotary),
            self.kv_norm(latent_TC),
            rotate(key_TR[:, None], positions.rotary)[:, 0],
            self.kv_up.matrix().unflatten(0, (q_THK.shape[1], -1)),
            documents,
            scale=self.latent.scale,
        )
        return x_TD + self.output(mixed_THV.flatten(1))
