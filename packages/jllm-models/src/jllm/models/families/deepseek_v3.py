"""DeepSeek-V3 and R1 (arXiv:2412.19437): sigmoid routing in groups, with a bias for balance."""

from dataclasses import replace

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families.deepseek import deepseek, experts_config
from jllm.models.families.fields import Fields

DEFAULTS = {
    "first_k_dense_replace": 3,
    "kv_lora_rank": 512,
    "max_position_embeddings": 4096,
    "moe_intermediate_size": 2048,
    "n_group": 8,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "routed_scaling_factor": 2.5,
    "topk_group": 4,
    "v_head_dim": 128,
}
"""Values of absent keys, as in Transformers."""


def decoder_config(fields: Fields) -> DecoderConfig:
    """Read a `DeepseekV3ForCausalLM` configuration."""
    fields = Fields({**DEFAULTS, **fields.values}, fields.source)
    fields.require("scoring_func", "sigmoid", "sigmoid")
    fields.require("topk_method", "noaux_tc", "noaux_tc")
    experts = replace(
        experts_config(fields, grouped=True, group_best=2),
        scoring="sigmoid",
        router_bias=True,
        renormalise=fields.flag("norm_topk_prob", True),
    )
    interleaved = fields.flag("rope_interleave", True)
    return deepseek(
        fields,
        "DeepseekV3ForCausalLM",
        experts,
        interleaved=interleaved,
        depth=fields.count("num_nextn_predict_layers", 0),
    )
