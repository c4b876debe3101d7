"""Qwen3, dense: Llama with RMS-normalised queries and keys."""

from jllm.models.config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.qwen2 import refuse_qwen_window


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `Qwen3ForCausalLM` configuration; a sliding window in use is refused."""
    refuse_qwen_window(fields)
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
    )
