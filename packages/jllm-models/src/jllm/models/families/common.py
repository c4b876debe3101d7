"""The keys that the configurations of all families share."""

from typing import Any

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.fields import Fields
from jllm.models.families.rope import rope_config

DTYPES = ("float32", "bfloat16", "float16")


def decoder(
    fields: Fields,
    architecture: str,
    *,
    head_dim: int | None = None,
    own_head_dim: int | None = None,
    num_kv_heads: int | None = None,
    max_position_embeddings: int,
    norm_eps: float = 1e-6,
    alibi: bool = False,
    **options: Any,
) -> DecoderConfig:
    """Make a DecoderConfig from the keys that all families share; refuse sizes that do not fit.

    head_dim, num_kv_heads, max_position_embeddings, norm_eps: the family's values for absent keys;
    None means hidden_size / heads, and as many as query heads. own_head_dim: the width of a head,
    where the key `head_dim` means something else. alibi: ALiBi takes the place of rotary embedding.
    options: further fields of DecoderConfig.
    """
    fields.require("hidden_act", "silu", "silu")
    fields.require("attention_dropout", 0, 0)
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    kv_heads = fields.size("num_key_value_heads", num_kv_heads or heads)
    if heads % kv_heads:
        raise fields.error(
            f"num_attention_heads = {heads} is no multiple of num_key_value_heads = {kv_heads}"
        )
    given = own_head_dim or fields.values.get("head_dim") or head_dim
    if given is None and hidden % heads:
        raise fields.error(
            f"hidden_size = {hidden} is no multiple of num_attention_heads = {heads}, "
            "and no head_dim is given"
        )
    width = own_head_dim or fields.size("head_dim", head_dim or hidden // heads)
    if width % 2:
        raise fields.error(f"head_dim = {width} is odd: rotation turns pairs")
    positions = fields.size("max_position_embeddings", max_position_embeddings)
    return DecoderConfig(
        architecture=architecture,
        vocab_size=fields.vocabulary(),
        hidden_size=hidden,
        intermediate_size=fields.size("intermediate_size"),
        num_layers=fields.size("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=width,
        norm_eps=fields.number("rms_norm_eps", norm_eps),
        max_position_embeddings=positions,
        rope=None if alibi else rope_config(fields, positions),
        tie_word_embeddings=fields.flag("tie_word_embeddings"),
        initializer_range=fields.number("initializer_range", 0.02),
        dtype=weights_dtype(fields),
        **options,
    )


def weights_dtype(fields: Fields, default: str = "float32") -> str:
    """Return the dtype of the directory's weights, as a name of torch."""
    name = fields.values.get("dtype") or fields.values.get("torch_dtype") or default
    if name not in DTYPES:
        raise fields.error(f"dtype = {name!r} is not supported; known: {', '.join(DTYPES)}")
    return name
