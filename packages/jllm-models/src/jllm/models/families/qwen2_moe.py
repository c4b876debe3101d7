"""Qwen1.5-MoE and Qwen2-MoE: Qwen2 with experts, one of them shared by all tokens."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.experts import mixture
from jllm.models.families.fields import Fields
from jllm.models.families.windows import early_windows


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `Qwen2MoeForCausalLM` configuration."""
    return decoder(
        fields,
        "Qwen2MoeForCausalLM",
        num_kv_heads=16,
        max_position_embeddings=32768,
        qkv_bias=fields.flag("qkv_bias", True),
        windows=early_windows(fields),
        experts=mixture(fields, shared=True),
    )
