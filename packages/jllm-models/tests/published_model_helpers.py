"""Configurations of models as they were published."""

from deepseek_helpers import PUBLISHED_DEEPSEEK

QWEN = {
    "architectures": ["QWenLMHeadModel"],
    "kv_channels": 128,
    "layer_norm_epsilon": 1e-6,
    "no_bias": True,
    "rotary_emb_base": 10000,
    "rotary_pct": 1.0,
    "scale_attn_weights": True,
    "seq_length": 2048,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
}
INTERNLM2 = {
    "architectures": ["InternLM2ForCausalLM"],
    "bias": False,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 2.0, "type": "dynamic"},
    "rope_theta": 1000000,
    "vocab_size": 92544,
}
BAICHUAN = {"hidden_act": "silu", "rms_norm_eps": 1e-06, "tie_word_embeddings": False}
SIZE_7B = {"hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 32}
SIZE_13B = {"hidden_size": 5120, "num_attention_heads": 40, "num_hidden_layers": 40}
FIRST = {**BAICHUAN, "vocab_size": 64000}
SECOND = {**BAICHUAN, "vocab_size": 125696, "model_max_length": 4096, "z_loss_weight": 0}
CAPITAL = {"architectures": ["BaiChuanForCausalLM"]}
SMALL = {"architectures": ["BaichuanForCausalLM"]}
ROTARY, ALIBI = {"max_position_embeddings": 4096}, {"model_max_length": 4096}
QWEN_MOE = {
    "hidden_act": "silu",
    "hidden_size": 2048,
    "decoder_sparse_step": 1,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": None,
    "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
    "vocab_size": 151936,
}
QWEN3_MOE = {
    **QWEN_MOE,
    "architectures": ["Qwen3MoeForCausalLM"],
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_key_value_heads": 4,
    "rope_theta": 1000000.0,
}

PUBLISHED = {
    "Qwen-7B": (
        {**QWEN, **SIZE_7B, "intermediate_size": 22016, "vocab_size": 151936},
        7_721_324_544,
    ),
    "Qwen-14B": (
        {**QWEN, **SIZE_13B, "intermediate_size": 27392, "vocab_size": 152064},
        14_167_290_880,
    ),
    "InternLM2-7B": ({**INTERNLM2, **SIZE_7B, "intermediate_size": 14336}, 7_737_708_544),
    "InternLM2-20B": (
        {
            **INTERNLM2,
            "hidden_size": 6144,
            "num_attention_heads": 48,
            "num_hidden_layers": 48,
            "intermediate_size": 16384,
        },
        19_861_149_696,
    ),
    "Baichuan-7B": (
        {**FIRST, **CAPITAL, **SIZE_7B, **ROTARY, "intermediate_size": 11008},
        7_000_559_616,
    ),
    "Baichuan-13B": (
        {**FIRST, **SMALL, **SIZE_13B, **ALIBI, "intermediate_size": 13696},
        13_264_901_120,
    ),
    "Baichuan2-7B": (
        {**SECOND, **SMALL, **SIZE_7B, **ROTARY, "intermediate_size": 11008},
        7_505_973_248,
    ),
    "Baichuan2-13B": (
        {**SECOND, **SMALL, **SIZE_13B, "intermediate_size": 13696},
        13_896_668_160,
    ),
    "Llama-13B": (
        {
            "architectures": ["LlamaForCausalLM"],
            **SIZE_13B,
            "intermediate_size": 13824,
            "vocab_size": 32000,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-06,
        },
        13_015_864_320,
    ),
    "Llama-2-70B": (
        {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "num_attention_heads": 64,
            "num_hidden_layers": 80,
            "num_key_value_heads": 8,
            "vocab_size": 32000,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-05,
        },
        68_976_648_192,
    ),
    "Mistral-7B-v0.1": (
        {
            "architectures": ["MistralForCausalLM"],
            **SIZE_7B,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "vocab_size": 32000,
            "max_position_embeddings": 32768,
            "sliding_window": 4096,
            "rms_norm_eps": 1e-05,
        },
        7_241_732_096,
    ),
    "Qwen1.5-MoE-A2.7B": (
        {
            **QWEN_MOE,
            "architectures": ["Qwen2MoeForCausalLM"],
            "intermediate_size": 5632,
            "max_position_embeddings": 8192,
            "max_window_layers": 21,
            "moe_intermediate_size": 1408,
            "norm_topk_prob": False,
            "num_attention_heads": 16,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "num_hidden_layers": 24,
            "num_key_value_heads": 16,
            "shared_expert_intermediate_size": 5632,
        },
        14_315_784_192,
    ),
    "Qwen3-30B-A3B": (
        {
            **QWEN3_MOE,
            "intermediate_size": 6144,
            "moe_intermediate_size": 768,
            "num_attention_heads": 32,
            "num_hidden_layers": 48,
        },
        30_532_122_624,
    ),
    "Qwen3-235B-A22B": (
        {
            **QWEN3_MOE,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "num_attention_heads": 64,
            "num_hidden_layers": 94,
        },
        235_093_634_560,
    ),
    **PUBLISHED_DEEPSEEK,
}
"""Name → what matters of its `config.json`, and the parameters in its files."""
