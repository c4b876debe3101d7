"""Mistral: Llama's mathematics, with a sliding window in every layer up to version 0.1."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.windows import same_window


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `MistralForCausalLM` configuration; an absent sliding_window means 4096."""
    return decoder(
        fields,
        "MistralForCausalLM",
        num_kv_heads=8,
        max_position_embeddings=32 * 4096,
        windows=same_window(fields, 4096),
    )
