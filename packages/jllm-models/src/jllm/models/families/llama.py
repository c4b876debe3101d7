"""Llama 1 to 3 and models of the same class: SmolLM, SmolLM2, TinyLlama, Yi, DeepSeek-LLM, …"""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `LlamaForCausalLM` configuration; a bias in the MLP is refused."""
    fields.require("mlp_bias", False, False)
    bias = fields.flag("attention_bias")
    return decoder(
        fields,
        "LlamaForCausalLM",
        max_position_embeddings=2048,
        qkv_bias=bias,
        output_bias=bias,
    )
