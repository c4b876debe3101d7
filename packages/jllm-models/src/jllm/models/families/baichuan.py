"""Baichuan and Baichuan2: Llama with query, key and value in one tensor.

The models of 7B rotate, those of 13B have ALiBi; the head of the second generation is normalised.
All share a class name, so keys tell them apart that only one kind has.
"""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.names import Names
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.rope import require_rope

NAMES = Names(qkv=("self_attn.W_pack",))
SECOND_VOCABULARY = 125_696
"""Tokens of the second generation; the first has 64 000."""


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `BaichuanForCausalLM` or (7B of the first generation) `BaiChuanForCausalLM`.

    `max_position_embeddings` is a key of the models that rotate, `model_max_length` alone of those
    with ALiBi; `z_loss_weight`, or the vocabulary, of the second generation.
    """
    require_rope(fields, ("default",))
    fields.require("z_loss_weight", 0, 0)
    values = fields.values
    rotates = values.get("max_position_embeddings") is not None
    if not rotates and values.get("model_max_length") is None:
        raise fields.error(
            "neither max_position_embeddings (7B, rotary) nor model_max_length (13B, ALiBi) given"
        )
    second = "z_loss_weight" in values or values.get("vocab_size") == SECOND_VOCABULARY
    return decoder(
        fields,
        "BaichuanForCausalLM",
        max_position_embeddings=fields.size("model_max_length", 4096),
        alibi=not rotates,
        normalised_head=second,
        names=NAMES,
    )
