"""Qwen2 and Qwen2.5, dense: Llama with a bias on query, key and value, windows in late layers."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.windows import late_windows


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `Qwen2ForCausalLM` configuration."""
    return decoder(
        fields,
        "Qwen2ForCausalLM",
        num_kv_heads=32,
        max_position_embeddings=32768,
        qkv_bias=True,
        windows=late_windows(fields),
    )
