"""The first Qwen: Llama's mathematics with its own names, and two options for long documents.

In evaluation mode, for documents longer than `seq_length`, `use_dynamic_ntk` raises the rotary base
in steps, each twice as long as the one before, and `use_logn_attn` scales queries. As in the
published code, training uses neither.
"""

from jllm.models.config.decoder_config import DecoderConfig, RopeConfig
from jllm.models.config.names import Names
from jllm.models.families.common import weights_dtype
from jllm.models.families.fields import Fields

NAMES = Names(
    embedding="transformer.wte",
    layers="transformer.h",
    attention_norm="ln_1",
    qkv=("attn.c_attn",),
    output="attn.c_proj",
    mlp_norm="ln_2",
    gate="mlp.w2",
    up="mlp.w1",
    down="mlp.c_proj",
    norm="transformer.ln_f",
)


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `QWenLMHeadModel` configuration; refuse options that no published model has."""
    for key, expected in (("no_bias", True), ("rotary_pct", 1), ("scale_attn_weights", True)):
        fields.require(key, expected, expected)
    for key in ("attn_dropout_prob", "emb_dropout_prob"):
        fields.require(key, 0, 0)
    fields.require("tie_word_embeddings", False, False)
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    width, inner = fields.size("kv_channels", 128), fields.size("intermediate_size")
    if heads * width != hidden:
        raise fields.error(
            f"num_attention_heads = {heads} times kv_channels = {width} "
            f"is not hidden_size = {hidden}"
        )
    if width % 2 or inner % 2:
        raise fields.error(f"kv_channels = {width} and intermediate_size = {inner} must be even")
    known = fields.size("seq_length")
    narrow = "float16" if fields.flag("fp16") else "float32"
    return DecoderConfig(
        architecture="QWenLMHeadModel",
        vocab_size=fields.vocabulary(),
        hidden_size=hidden,
        intermediate_size=inner // 2,
        num_layers=fields.size("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=width,
        norm_eps=fields.number("layer_norm_epsilon", 1e-6),
        max_position_embeddings=fields.size("max_position_embeddings", 8192),
        rope=_rope(fields, known),
        log_n_length=known if fields.flag("use_logn_attn", True) else None,
        qkv_bias=True,
        initializer_range=fields.number("initializer_range", 0.02),
        dtype=weights_dtype(fields, "bfloat16" if fields.flag("bf16") else narrow),
        names=NAMES,
    )


def _rope(fields: Fields, known: int) -> RopeConfig:
    """Return the rotary parameters."""
    theta = fields.number("rotary_emb_base", 10_000.0)
    if not fields.flag("use_dynamic_ntk", True):
        return RopeConfig(theta=theta)
    return RopeConfig(
        type="dynamic",
        theta=theta,
        factor=2.0,
        original_max_position_embeddings=known,
        in_powers_of_two=True,
        outside_training=True,
    )
