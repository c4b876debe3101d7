"""What is not implemented is refused with the file, what was found, and what is known."""

import json

import pytest

from jllm.models.families import FAMILIES, decoder_config, read_config
from own_code_helpers import OWN_CODE, write_own_code
from tiny_model_helpers import SIZES, loaded_stage

BASE = {"architectures": ["LlamaForCausalLM"], **SIZES}
QWEN = {**BASE, "architectures": ["Qwen2ForCausalLM"]}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 24}
QWEN3_MOE = {**BASE, "architectures": ["Qwen3MoeForCausalLM"], **EXPERTS}
QWEN2_MOE = {**QWEN3_MOE, "architectures": ["Qwen2MoeForCausalLM"]}
MISTRAL = {**BASE, "architectures": ["MistralForCausalLM"]}
FIRST_QWEN, INTERNLM2, BAICHUAN = (
    OWN_CODE[name][0] for name in ("qwen", "internlm2", "baichuan2-7b")
)
DEEPSEEK_V3 = {**BASE, "architectures": ["DeepseekV3ForCausalLM"], "num_key_value_heads": 6}


def rope(**values):
    """Return a configuration with rotary parameters."""
    return {**BASE, "rope_parameters": {"rope_theta": 100.0, **values}}


REFUSED = {
    "architecture": ({**BASE, "architectures": ["MambaForCausalLM"]}, "'MambaForCausalLM'"),
    "model type": ({**SIZES, "model_type": "mamba"}, "'model_type mamba'; known: BaiChuan"),
    "nothing": ({}, "unknown architecture"),
    "classifier": ({**BASE, "architectures": ["LlamaForSequenceClassification"]}, "unknown archit"),
    "rope type": (rope(rope_type="longrope"), "unknown rope type 'longrope'; known: default, lin"),
    "rope factor": (rope(rope_type="linear"), "rope factor is missing"),
    "rope number": (rope(rope_type="linear", factor="2"), "must be a number .* found '2'"),
    "rope zero": (rope(rope_type="yarn", factor=0), "factor must be positive, found 0"),
    "rope object": ({**BASE, "rope_parameters": "yarn"}, "must be an object, found 'yarn'"),
    "rope bands": (
        rope(rope_type="llama3", factor=2, low_freq_factor=4, high_freq_factor=4),
        "low_freq_factor = 4.0 must be less than high_freq_factor = 4.0",
    ),
    "rope length": (
        rope(rope_type="yarn", factor=2, original_max_position_embeddings=1.5),
        "original_max_position_embeddings must be a positive whole number, found 1.5",
    ),
    "partial rotary": (rope(partial_rotary_factor=0.5), "partial_rotary_factor = 0.5"),
    "kv heads": ({**BASE, "num_key_value_heads": 4}, "= 6 is no multiple of .* = 4"),
    "hidden size": ({**BASE, "hidden_size": 50}, "hidden_size = 50 is no multiple of"),
    "odd head": ({**BASE, "head_dim": 7}, "head_dim = 7 is odd"),
    "no layers": ({**BASE, "num_hidden_layers": 0}, "positive whole number, found 0"),
    "missing": ({k: v for k, v in BASE.items() if k != "vocab_size"}, "vocab_size is missing"),
    "text": ({**BASE, "hidden_size": "48"}, "hidden_size must be .* found '48'"),
    "flag": ({**BASE, "tie_word_embeddings": "yes"}, "must be true or false, found 'yes'"),
    "activation": ({**BASE, "hidden_act": "gelu"}, "hidden_act = 'gelu' .* only 'silu'"),
    "mlp bias": ({**BASE, "mlp_bias": True}, "mlp_bias = True is not supported"),
    "dropout": ({**BASE, "attention_dropout": 0.1}, "attention_dropout = 0.1 is not supported"),
    "quantised": ({**BASE, "quantization_config": {"bits": 4}}, "None .* dequantise the weights"),
    "dtype": ({**BASE, "dtype": "float8_e4m3fn"}, "dtype = 'float8_e4m3fn' is not supported"),
    "window": ({**MISTRAL, "sliding_window": 0}, "sliding_window must be a positive .* found 0"),
    "layer types": (
        {**QWEN, "layer_types": ["sliding_attention"] * 3},
        "but use_sliding_window and sliding_window switch it off",
    ),
    "layer kind": ({**QWEN, "layer_types": ["chunked_attention"] * 3}, "list of full_attention"),
    "layer count": ({**QWEN, "layer_types": ["full_attention"] * 2}, "has 2 entries, .* = 3"),
    "qwen bias": ({**FIRST_QWEN, "no_bias": False}, "no_bias = False is not supported"),
    "qwen rotary": ({**FIRST_QWEN, "rotary_pct": 0.5}, "rotary_pct = 0.5 is not supported"),
    "qwen tied": ({**FIRST_QWEN, "tie_word_embeddings": True}, "tie_word_embeddings = True"),
    "qwen dropout": ({**FIRST_QWEN, "emb_dropout_prob": 0.1}, "emb_dropout_prob = 0.1"),
    "qwen heads": ({**FIRST_QWEN, "kv_channels": 16}, "6 times kv_channels = 16 is not .* = 48"),
    "qwen halves": ({**FIRST_QWEN, "intermediate_size": 161}, "intermediate_size = 161 must be"),
    "qwen odd": ({**FIRST_QWEN, "kv_channels": 3, "hidden_size": 18}, "kv_channels = 3 and"),
    "qwen length": (
        {key: value for key, value in FIRST_QWEN.items() if key != "seq_length"},
        "seq_length is missing",
    ),
    "qwen names": ({"architectures": ["QWenLMHeadModel"], "n_embd": 64}, "hidden_size is missing"),
    "internlm2 rope": (
        {**INTERNLM2, "rope_scaling": {"type": "yarn", "factor": 2.0}},
        "unknown rope type 'yarn' here; known: default, linear, dynamic",
    ),
    "internlm2 groups": ({**INTERNLM2, "num_key_value_heads": 4}, "= 6 is no multiple of .* = 4"),
    "baichuan kind": (
        {key: value for key, value in BAICHUAN.items() if key[:4] not in ("max_", "mode")},
        "neither max_position_embeddings .* nor model_max_length",
    ),
    "baichuan loss": ({**BAICHUAN, "z_loss_weight": 0.1}, "z_loss_weight = 0.1 is not supported"),
    "baichuan rope": (
        {**BAICHUAN, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "unknown rope type 'dynamic' here; known: default",
    ),
    "experts of a token": ({**QWEN3_MOE, "num_experts_per_tok": 7}, "= 7 is more than .* = 6"),
    "no experts": ({**QWEN3_MOE, "num_experts": 0}, "num_experts must be a positive .* found 0"),
    "experts missing": ({**QWEN3_MOE, "num_experts": None}, "num_experts is missing"),
    "experts differ": ({**QWEN3_MOE, "num_local_experts": 8}, "and num_local_experts differ"),
    "expert width": ({**QWEN3_MOE, "moe_intermediate_size": None}, "moe_intermediate_size is miss"),
    "shared width": (QWEN2_MOE, "shared_expert_intermediate_size is missing"),
    "sparse step": ({**QWEN3_MOE, "decoder_sparse_step": 0}, "decoder_sparse_step must be .* 0"),
    "dense layers": ({**QWEN3_MOE, "mlp_only_layers": ["0"]}, "must be a list of layer numbers"),
    "auxiliary loss": (
        {**QWEN3_MOE, "output_router_logits": True, "router_aux_loss_coef": -1},
        "router_aux_loss_coef must be a number that is not negative, found -1",
    ),
    "mixture window": (
        {**QWEN3_MOE, "use_sliding_window": True, "layer_types": ["full_attention"] * 3},
        "must hold sliding_attention alone where sliding_window = 4096",
    ),
    "deepseek attention": ({**DEEPSEEK_V3, "use_mla": False}, "use_mla = False is not supported"),
    "deepseek yarn": (
        {**DEEPSEEK_V3, "rope_scaling": {"type": "yarn", "factor": 4.0, "mscale": 0.7}},
        "mscale = 0.7 without mscale_all_dim is not supported",
    ),
    "mistral layers": (
        {**MISTRAL, "layer_types": ["full_attention"] * 3},
        "must hold sliding_attention alone where sliding_window = 4096",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case):
    values, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        decoder_config(values, "some/config.json")
    assert str(caught.value).startswith("some/config.json: ")


def test_an_unknown_architecture_lists_all_known():
    with pytest.raises(ValueError) as caught:
        decoder_config({"architectures": ["GPT2LMHeadModel"]}, "config.json")
    assert all(name in str(caught.value) for name in FAMILIES)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "expected a JSON object"), (None, "no such file")],
)
def test_a_broken_file_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_config(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "OwnForCausalLM", "qwen"])
def test_code_in_a_model_directory_never_runs(tmp_path, architecture, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "mark"
    for module in ("configuration_own", "modeling_own"):
        (tmp_path / f"{module}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    auto_map = {"AutoConfig": "configuration_own.C", "AutoModelForCausalLM": "modeling_own.M"}
    if architecture == "qwen":
        write_own_code("qwen", tmp_path)
        values = {**FIRST_QWEN, "auto_map": auto_map}
    else:
        values = {**BASE, "architectures": [architecture], "auto_map": auto_map}
    (tmp_path / "config.json").write_text(json.dumps(values))
    if architecture == "OwnForCausalLM":
        with pytest.raises(ValueError, match="own code .auto_map. is never run"):
            read_config(tmp_path)
    else:
        assert read_config(tmp_path).architecture == values["architectures"][0]
    if architecture == "qwen":
        assert loaded_stage(tmp_path).has_head
    assert not mark.exists()


def test_a_directory_with_an_adapter_alone_is_no_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"an adapter alone; .*--lora_adapter, .*jllm\.merge_lora"):
        read_config(tmp_path)
