"""Tiny DeepSeek models: every combination of options that a published one has, and a few more."""

from typing import Any

from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
)

LATENT = {
    "num_key_value_heads": 6,
    "kv_lora_rank": 20,
    "q_lora_rank": 28,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 12,
}
EXPERTS = {
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.7,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 100.0,
    "factor": 4.0,
    "original_max_position_embeddings": 8,
    "beta_fast": 4,
    "beta_slow": 1,
}
GROUPS = {"n_group": 4, "topk_group": 2}

DEEPSEEK: dict[str, tuple[type, type, dict[str, Any]]] = {
    "deepseek-v2-lite": (
        DeepseekV2Config,
        DeepseekV2ForCausalLM,
        {
            **LATENT,
            **EXPERTS,
            "q_lora_rank": None,
            "routed_scaling_factor": 1.0,
            "rope_parameters": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
        },
    ),
    "deepseek-v2": (
        DeepseekV2Config,
        DeepseekV2ForCausalLM,
        {
            **LATENT,
            **EXPERTS,
            **GROUPS,
            "topk_method": "group_limited_greedy",
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5},
            "attention_bias": True,
        },
    ),
    "deepseek-v3": (
        DeepseekV3Config,
        DeepseekV3ForCausalLM,
        {
            **LATENT,
            **EXPERTS,
            **GROUPS,
            "first_k_dense_replace": 2,
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
    ),
    "deepseek-v3-plain": (
        DeepseekV3Config,
        DeepseekV3ForCausalLM,
        {
            **LATENT,
            **EXPERTS,
            "n_group": 1,
            "topk_group": 1,
            "q_lora_rank": None,
            "v_head_dim": 16,
            "norm_topk_prob": False,
            "rope_interleave": False,
            "attention_bias": True,
            "tie_word_embeddings": True,
        },
    ),
}
"""As `MODELS` of `tiny_model_helpers`, to which they belong."""

_SHARED = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "ep_size": 1,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_layer_freq": 1,
    "pretraining_tp": 1,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 40,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "v_head_dim": 128,
}
_SECOND = {
    **_SHARED,
    "architectures": ["DeepseekV2ForCausalLM"],
    "model_type": "deepseek_v2",
    "first_k_dense_replace": 1,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_experts_per_tok": 6,
    "scoring_func": "softmax",
    "seq_aux": True,
    "vocab_size": 102400,
}
V3 = {
    **_SHARED,
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "auto_map": {"AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM"},
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_group": 8,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    },
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "topk_group": 4,
    "topk_method": "noaux_tc",
    "vocab_size": 129280,
}
"""`config.json` of DeepSeek-V3 and R1, as their repositories on the Hugging Face hub have it."""
PUBLISHED_DEEPSEEK = {
    "DeepSeek-V2-Lite": (
        {
            **_SECOND,
            "hidden_size": 2048,
            "intermediate_size": 10944,
            "moe_intermediate_size": 1408,
            "n_group": 1,
            "n_routed_experts": 64,
            "num_attention_heads": 16,
            "num_hidden_layers": 27,
            "num_key_value_heads": 16,
            "q_lora_rank": None,
            "rope_scaling": {**_SHARED["rope_scaling"], "mscale": 0.707, "mscale_all_dim": 0.707},
            "routed_scaling_factor": 1.0,
            "topk_group": 1,
            "topk_method": "greedy",
        },
        15_706_484_224,
    ),
    "DeepSeek-V2.5": (
        {
            **_SECOND,
            "hidden_size": 5120,
            "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "n_group": 8,
            "n_routed_experts": 160,
            "num_attention_heads": 128,
            "num_hidden_layers": 60,
            "num_key_value_heads": 128,
            "q_lora_rank": 1536,
            "routed_scaling_factor": 16.0,
            "topk_group": 3,
            "topk_method": "group_limited_greedy",
        },
        235_741_434_880,
    ),
}
"""As `PUBLISHED` of `published_model_helpers`, to which they belong."""
