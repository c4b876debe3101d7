"""Qwen3-MoE: Qwen3 with experts, none of them shared; every layer has a window or none has."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.experts import mixture
from jllm.models.families.fields import Fields
from jllm.models.families.windows import same_window


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `Qwen3MoeForCausalLM` configuration."""
    bias = fields.flag("attention_bias")
    return decoder(
        fields,
        "Qwen3MoeForCausalLM",
        num_kv_heads=4,
        max_position_embeddings=32768,
        qkv_bias=bias,
        output_bias=bias,
        qk_norm=True,
        windows=same_window(fields, 4096) if fields.flag("use_sliding_window") else (),
        experts=mixture(fields),
    )
