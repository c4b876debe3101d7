"""Mistral without its sliding window (version 0.2 and later): Llama's mathematics."""

from jllm.models.config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `MistralForCausalLM` configuration; an absent sliding_window means 4096 there."""
    window = fields.values.get("sliding_window", 4096)
    if window is not None:  # in every layer: layer_types has no say here
        raise fields.error(
            f"sliding_window = {window} is in use and not supported; "
            "set it to null if your documents are not longer"
        )
    return decoder(fields, "MistralForCausalLM", num_kv_heads=8, max_position_embeddings=32 * 4096)
