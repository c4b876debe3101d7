"""DeepSeek-V2, V2.5 and V2-Lite (arXiv:2405.04434): softmax routing, greedy or within groups."""

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.deepseek import deepseek, experts_config
from jllm.models.families.fields import Fields

DEFAULTS = {
    "kv_lora_rank": 512,
    "max_position_embeddings": 2048,
    "moe_intermediate_size": 1407,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "topk_method": "greedy",
    "v_head_dim": 128,
}
"""Values of absent keys, as in Transformers."""
METHODS = {"greedy": False, "group_limited_greedy": True}


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `DeepseekV2ForCausalLM` configuration."""
    fields = Fields({**DEFAULTS, **fields.values}, fields.source)
    fields.require("mlp_bias", False, False)
    fields.require("scoring_func", "softmax", "softmax")
    # The published code divides by the sum instead of multiplying by routed_scaling_factor, and
    # Transformers ignores the key; no published model has it.
    fields.require("norm_topk_prob", False, False)
    method = fields.values["topk_method"]
    if method not in METHODS:
        raise fields.error(
            f"topk_method = {method!r} is not supported; known: {', '.join(METHODS)}"
        )
    experts = experts_config(fields, grouped=METHODS[method], group_best=1)
    return deepseek(fields, "DeepseekV2ForCausalLM", experts, interleaved=True)
