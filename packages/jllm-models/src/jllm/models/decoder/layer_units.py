"""The two units of a decoder layer, by the configuration."""

import torch

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.experts.moe import MoE
from jllm.models.layers.attention import Attention
from jllm.models.layers.attention_backends import Attend
from jllm.models.layers.latent_attention import LatentAttention
from jllm.models.layers.mlp import MLP


def attention_unit(
    config: DecoderConfig,
    layer: int,
    attend: Attend,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Attention | LatentAttention:
    """Make the attention unit of a layer."""
    place = {"dtype": dtype, "device": device}
    if config.latent:
        return LatentAttention(config, config.latent, attend, **place)
    return Attention(config, attend, window=config.window(layer), **place)


def mlp_unit(
    config: DecoderConfig, layer: int, *, dtype: torch.dtype, device: torch.device | str
) -> MLP | MoE:
    """Make the MLP or the mixture of experts of a layer."""
    experts = config.mixture(layer)
    place = {"dtype": dtype, "device": device}
    return MoE(config, experts, **place) if experts else MLP(config, **place)
