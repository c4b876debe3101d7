"""Configurations are read as Transformers reads them."""

import json

import pytest
from transformers import AutoConfig

from jllm.models.families import config_text, decoder_config, read_config
from tiny_model_helpers import EXPERTS, LLAMA3, MODELS, SIZES, YARN, reference_model, saved

BASE = {"architectures": ["LlamaForCausalLM"], **SIZES}


@pytest.mark.parametrize("name", MODELS)
def test_sizes_equal_those_of_transformers(name, tmp_path):
    config = saved(reference_model(name), tmp_path)
    theirs = AutoConfig.from_pretrained(tmp_path)
    assert config.architecture == theirs.architectures[0]
    assert config.num_layers == theirs.num_hidden_layers
    assert config.num_heads == theirs.num_attention_heads
    assert config.num_kv_heads == theirs.num_key_value_heads
    assert config.norm_eps == theirs.rms_norm_eps
    assert config.tie_word_embeddings == theirs.tie_word_embeddings
    assert config.max_position_embeddings == theirs.max_position_embeddings
    assert config.rope.type == theirs.rope_parameters["rope_type"]
    assert config.rope.theta == theirs.rope_parameters["rope_theta"]
    assert config.dtype == "float32"


def test_what_olmo2_leaves_out_is_its_own_default():
    values = {key: value for key, value in SIZES.items() if key != "rms_norm_eps"}
    config = decoder_config({**values, "model_type": "olmo2"}, "config.json")
    assert (config.norm_eps, config.qk_norm_whole, config.norm_behind) == (1e-5, True, True)


@pytest.mark.parametrize("rope", [LLAMA3, YARN, {"rope_type": "linear", "factor": 2.0}])
def test_old_and_new_rope_keys_are_read_alike(rope):
    rope = {"rope_theta": 5000.0, **rope}
    new = {**BASE, "rope_parameters": rope}
    old_scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    old_scaling["type"] = old_scaling.pop("rope_type")
    old = {**BASE, "rope_theta": rope["rope_theta"], "rope_scaling": old_scaling}
    assert decoder_config(old, "old") == decoder_config(new, "new")


def test_an_explicit_null_is_the_default():
    given = {**BASE, "rope_scaling": None, "head_dim": None, "num_key_value_heads": None}
    config = decoder_config(given, "config.json")
    assert (config.rope.type, config.rope.theta) == ("default", 10_000.0)
    assert (config.head_dim, config.num_kv_heads) == (8, 6)


def test_a_configuration_without_architectures_goes_by_its_model_type():
    config = decoder_config({**SIZES, "model_type": "qwen3"}, "config.json")
    assert (config.architecture, config.head_dim, config.qk_norm) == ("Qwen3ForCausalLM", 128, True)


def test_a_window_that_is_off_is_no_window():
    given = {**BASE, "architectures": ["Qwen2ForCausalLM"], "sliding_window": 8}
    full = {**given, "use_sliding_window": True, "layer_types": ["full_attention"] * 3}
    late = {**given, "use_sliding_window": True, "max_window_layers": 3}
    null = {**given, "use_sliding_window": True, "sliding_window": None}
    for values in ({**given, "use_sliding_window": False}, full, late, null):
        assert decoder_config(values, "config.json").windows == ()


def test_windows_are_in_the_layers_that_have_them():
    qwen = {**BASE, "architectures": ["Qwen3ForCausalLM"], "use_sliding_window": True}
    late = decoder_config({**qwen, "max_window_layers": 2}, "config.json")
    assert late.windows == (None, None, 4096)
    deep = {**qwen, "num_hidden_layers": 30, "max_window_layers": None}
    assert decoder_config(deep, "config.json").windows == (None,) * 28 + (4096,) * 2
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    named = decoder_config({**qwen, "layer_types": kinds, "sliding_window": 9}, "config.json")
    assert named.windows == (9, None, 9)
    mistral = decoder_config({**BASE, "architectures": ["MistralForCausalLM"]}, "config.json")
    assert mistral.windows == (4096, 4096, 4096)


def test_early_windows_are_in_every_second_layer():
    given = {**BASE, **EXPERTS, "architectures": ["Qwen2MoeForCausalLM"]}
    given |= {"shared_expert_intermediate_size": 8, "num_hidden_layers": 6}
    given |= {"use_sliding_window": True, "sliding_window": 9}
    config = decoder_config({**given, "max_window_layers": 4}, "config.json")
    assert config.windows == (9, None, 9, None, None, None)
    assert decoder_config({**given, "max_window_layers": 0}, "config.json").windows == ()


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        ({}, (0, 1, 2, 3, 4)),
        ({"decoder_sparse_step": 2}, (1, 3)),
        ({"decoder_sparse_step": 2, "mlp_only_layers": [0, 3, 9]}, (1,)),
        ({"decoder_sparse_step": 6}, ()),
        ({"mlp_only_layers": None}, (0, 1, 2, 3, 4)),
    ],
)
def test_experts_are_in_the_layers_of_transformers(changes, layers):
    model = reference_model("qwen3-moe", num_hidden_layers=5, **changes)
    assert layers == tuple(
        number for number, layer in enumerate(model.model.layers) if hasattr(layer.mlp, "experts")
    )
    given = {**BASE, **EXPERTS, "architectures": ["Qwen3MoeForCausalLM"], "num_hidden_layers": 5}
    config = decoder_config({**given, **changes}, "config.json")
    assert tuple(layer for layer in range(5) if config.mixture(layer)) == layers


def test_either_name_of_the_number_of_experts_is_read():
    given = {**BASE, **EXPERTS, "architectures": ["Qwen3MoeForCausalLM"]}
    local = {key: value for key, value in given.items() if key != "num_experts"}
    local["num_local_experts"] = 6
    assert decoder_config(local, "local") == decoder_config(given, "given")


def test_config_text_changes_the_dtype_alone(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**BASE, "torch_dtype": "float16", "x": "é"}))
    values = json.loads(config_text(tmp_path, "bfloat16"))
    assert values == {**BASE, "x": "é", "dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(config_text(tmp_path, "bfloat16"))
    assert read_config(tmp_path).dtype == "bfloat16"
