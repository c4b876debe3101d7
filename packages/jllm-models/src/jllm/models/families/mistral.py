"""Mistral without its sliding window (version 0.2 and later): Llama's mathematics."""

from jllm.models.config import DecoderConfig
from jllm.models.families.common import decoder, refuse_sliding_window
from jllm.models.families.fields import Fields


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `MistralForCausalLM` configuration; an absent sliding_window means 4096 there."""
    refuse_sliding_window(fields, fields.values.get("sliding_window", 4096))
    return decoder(fields, "MistralForCausalLM", num_kv_heads=8, max_position_embeddings=32 * 4096)
