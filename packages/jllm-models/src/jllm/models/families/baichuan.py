"""Baichuan and Baichuan2: Llama with query, key and value in one tensor.

The 7B models have rotary embedding, the 13B models ALiBi; the head of the second generation is
normalised. All share a class name, so they are told apart by keys that only one kind has.
"""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.names import Names
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.rope import require_rope

NAMES = Names(qkv=("self_attn.W_pack",))
SECOND_VOCABULARY = 125_696
"""Vocabulary size of the second generation; the first has 64 000."""


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `BaichuanForCausalLM` or (7B of the first generation) `BaiChuanForCausalLM`.

    Models with rotary embedding have `max_position_embeddings`, those with ALiBi only
    `model_max_length`. The second generation is known by `z_loss_weight` or the vocabulary size.
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
