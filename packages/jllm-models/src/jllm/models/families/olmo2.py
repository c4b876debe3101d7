"""OLMo-2: Llama with norms after attention and MLP, and whole queries and keys normalised."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.names import Names
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields

NAMES = Names(
    attention_norm="post_attention_layernorm",
    mlp_norm="post_feedforward_layernorm",
)


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read an `Olmo2ForCausalLM` configuration."""
    bias = fields.flag("attention_bias")
    return decoder(
        fields,
        "Olmo2ForCausalLM",
        max_position_embeddings=2048,
        norm_eps=1e-5,
        qkv_bias=bias,
        output_bias=bias,
        qk_norm=True,
        qk_norm_whole=True,
        norm_behind=True,
        names=NAMES,
    )
