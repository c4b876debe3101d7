"""Qwen2 and Qwen2.5, dense: Llama with a bias on query, key and value."""

from jllm.models.config import DecoderConfig
from jllm.models.families.common import decoder, refuse_sliding_window
from jllm.models.families.fields import Fields


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `Qwen2ForCausalLM` configuration; a sliding window in use is refused."""
    refuse_qwen_window(fields)
    return decoder(
        fields,
        "Qwen2ForCausalLM",
        num_kv_heads=32,
        max_position_embeddings=32768,
        qkv_bias=True,
    )


def refuse_qwen_window(fields: Fields) -> None:
    """Refuse a window that `use_sliding_window` turns on in the layers from max_window_layers."""
    window = fields.values.get("sliding_window", 4096)
    in_use = fields.flag("use_sliding_window")
    first = fields.values.get("max_window_layers")
    first = 28 if first is None else first
    refuse_sliding_window(fields, window if in_use else None, first)
