"""InternLM2 and 2.5: Llama with query, key and value in one tensor, grouped by key/value head."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.names import Names
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.rope import require_rope

NAMES = Names(
    embedding="model.tok_embeddings",
    attention_norm="attention_norm",
    qkv=("attention.wqkv",),
    qkv_by_group=True,
    output="attention.wo",
    mlp_norm="ffn_norm",
    gate="feed_forward.w1",
    up="feed_forward.w3",
    down="feed_forward.w2",
    head="output",
)


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read an `InternLM2ForCausalLM` configuration; `bias` means all projections of attention."""
    require_rope(fields, ("default", "linear", "dynamic"))
    bias = fields.flag("bias", True)
    return decoder(
        fields,
        "InternLM2ForCausalLM",
        max_position_embeddings=2048,
        qkv_bias=bias,
        output_bias=bias,
        names=NAMES,
    )
