"""Configurations as they were published give the parameters that their files hold."""

import pytest

from jllm.models.costs.flops import active_parameter_count, parameter_count
from jllm.models.families import decoder_config
from published_model_helpers import PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    values, parameters = PUBLISHED[name]
    assert parameter_count(decoder_config(values, "config.json")) == parameters


@pytest.mark.parametrize(
    ("name", "billions"),
    [("Qwen1.5-MoE-A2.7B", 2.7), ("Qwen3-30B-A3B", 3.3), ("Qwen3-235B-A22B", 22)],
)
def test_a_token_meets_as_many_parameters_as_published(name, billions):
    config = decoder_config(PUBLISHED[name][0], "config.json")
    assert active_parameter_count(config) / 1e9 == pytest.approx(billions, rel=0.02)  # as named
    dense = decoder_config(PUBLISHED["Qwen-14B"][0], "config.json")
    assert active_parameter_count(dense) == parameter_count(dense)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "aichuan" in name])
def test_the_kinds_of_baichuan_are_told_apart(name):
    config = decoder_config(PUBLISHED[name][0], "config.json")
    assert (config.rope is None) == name.endswith("13B")
    assert config.normalised_head == name.startswith("Baichuan2")
    assert config.max_position_embeddings == 4096


def test_qwen_keeps_what_its_own_names_say():
    config = decoder_config(PUBLISHED["Qwen-14B"][0], "config.json")
    assert (config.intermediate_size, config.head_dim, config.num_kv_heads) == (13696, 128, 40)
    assert config.log_n_length == config.rope.original_max_position_embeddings == 2048
    assert (config.qkv_bias, config.output_bias, config.norm_eps) == (True, False, 1e-6)
    assert config.dtype == "float32"
    later = decoder_config({**PUBLISHED["Qwen-14B"][0], "bf16": True}, "config.json")
    assert later.dtype == "bfloat16"
