"""Multi-head latent attention by the keys of the DeepSeek configurations."""

from jllm.models.config.decoder_config import LatentConfig
from jllm.models.families.fields import Fields
from jllm.models.families.rope import score_factor

NORM_EPS = 1e-6
"""Epsilon of the latent vectors' norms, whatever `rms_norm_eps` is, as in the published code."""


def latent_attention(fields: Fields) -> tuple[int, LatentConfig]:
    """Return the width of a query head, and the other sizes; refuse sizes that do not fit."""
    rotary = fields.size("qk_rope_head_dim")
    if rotary % 2:
        raise fields.error(f"qk_rope_head_dim = {rotary} is odd: rotation turns pairs")
    heads = fields.size("num_attention_heads")
    if fields.size("num_key_value_heads", heads) != heads:
        raise fields.error(
            f"num_key_value_heads = {fields.values['num_key_value_heads']} is not "
            f"num_attention_heads = {heads}: latent attention has as many of both"
        )
    head_dim = fields.size("qk_nope_head_dim") + rotary
    absent = fields.values.get("q_lora_rank") is None
    return head_dim, LatentConfig(
        rank=fields.size("kv_lora_rank"),
        query_rank=None if absent else fields.size("q_lora_rank"),
        rotary_dim=rotary,
        value_dim=fields.size("v_head_dim"),
        scale=head_dim**-0.5 * score_factor(fields),
        norm_eps=NORM_EPS,
    )
