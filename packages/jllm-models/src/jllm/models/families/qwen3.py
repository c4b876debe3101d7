"""Qwen3, dense: Llama with RMS-normalised queries and keys, and windows in late layers."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.windows import late_windows


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `Qwen3ForCausalLM` configuration."""
    bias = fields.flag("attention_bias")
    return decoder(
        fields,
        "Qwen3ForCausalLM",
        head_dim=128,
        num_kv_heads=32,
        max_position_embeddings=32768,
        qkv_bias=bias,
        output_bias=bias,
        qk_norm=True,
        windows=late_windows(fields),
    )
