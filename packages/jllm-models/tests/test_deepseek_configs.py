"""DeepSeek's configurations: what they say, what is refused, and what the published ones are."""

import json
import math
from dataclasses import replace

import pytest

from deepseek_helpers import DEEPSEEK, PUBLISHED_DEEPSEEK, V3
from describe_helpers import described
from jllm.models.costs.flops import active_parameter_count, parameter_count
from jllm.models.describe import total_figures
from jllm.models.families import decoder_config
from tiny_model_helpers import SIZES, reference_model, saved

LITE, V2 = (PUBLISHED_DEEPSEEK[name][0] for name in PUBLISHED_DEEPSEEK)


def tiny(name, **changes):
    """Return the values of a tiny configuration."""
    architecture = DEEPSEEK[name][1].__name__
    return {"architectures": [architecture], **SIZES, **DEEPSEEK[name][2], **changes}


SECOND, THIRD = tiny("deepseek-v2"), tiny("deepseek-v3")
REFUSED = {
    "kv heads": ({**THIRD, "num_key_value_heads": 2}, "= 2 is not num_attention_heads = 6"),
    "odd rotation": ({**THIRD, "qk_rope_head_dim": 7}, "qk_rope_head_dim = 7 is odd"),
    "rank": ({**THIRD, "kv_lora_rank": 0}, "kv_lora_rank must be a positive .* found 0"),
    "groups": ({**THIRD, "n_group": 3}, "n_routed_experts = 8 do not fall into n_group = 3"),
    "best of a group": ({**THIRD, "n_group": 8}, "8 equal groups of at least 2"),
    "kept groups": ({**THIRD, "topk_group": 5}, "a token keeps topk_group = 5"),
    "too many": ({**THIRD, "num_experts_per_tok": 5}, "= 5 is more than the 4 of .* = 8"),
    "dense layers": ({**THIRD, "first_k_dense_replace": -1}, "positive whole number, found -1"),
    "scores": ({**THIRD, "scoring_func": "softmax"}, "scoring_func = 'softmax' is not supported"),
    "method of v3": ({**THIRD, "topk_method": "greedy"}, "only 'noaux_tc' is"),
    "method of v2": ({**SECOND, "topk_method": "noaux_tc"}, "known: greedy, group_limited_greedy"),
    "renormalised v2": ({**SECOND, "norm_topk_prob": True}, "norm_topk_prob = True is not"),
    "temperature": (
        {**THIRD, "rope_parameters": {"rope_type": "yarn", "mscale_all_dim": 1.0}},
        "rope factor is missing",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_configuration_that_is_not_implemented_is_refused(name):
    values, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"^config.json: .*{message}"):
        decoder_config(values, "config.json")


def test_what_transformers_writes_is_read_back(tmp_path):
    config = saved(reference_model("deepseek-v3"), tmp_path)
    assert (config.head_dim, config.rotary_dim, config.latent.value_dim) == (16, 6, 12)
    assert (config.latent.rank, config.latent.query_rank) == (20, 28)
    assert config.latent.scale == pytest.approx(16**-0.5 * (0.1 * math.log(4) + 1) ** 2)
    assert config.experts.layers == (2, 3)  # it names a module of prediction, and writes none
    assert config.prediction is None
    assert config.experts.shared_intermediate_size == 48


def test_absent_keys_have_the_values_of_transformers():
    sizes = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
    third = decoder_config({**sizes, "model_type": "deepseek_v3"}, "config.json")
    assert (third.latent.rank, third.latent.query_rank, third.head_dim) == (512, 1536, 192)
    assert third.experts is None  # its three layers are the dense ones
    second = decoder_config(
        {**sizes, "model_type": "deepseek_v2", "num_experts_per_tok": 6}, "config.json"
    )
    assert (second.experts.num_experts, second.experts.intermediate_size) == (64, 1407)
    assert second.experts.layers == (0, 1, 2)


def test_experts_may_come_in_every_so_manieth_layer():
    config = decoder_config({**SECOND, "num_hidden_layers": 8, "moe_layer_freq": 3}, "config.json")
    assert config.experts.layers == (3, 6)
    alone = decoder_config({**SECOND, "n_shared_experts": None}, "config.json")
    assert alone.experts.shared_intermediate_size == 0


@pytest.mark.parametrize(("values", "billions"), [(LITE, 2.4), (V2, 21), (V3, 36.6)])
def test_a_token_meets_as_many_parameters_as_published(values, billions):
    config = decoder_config(values, "config.json")
    embedding = config.vocab_size * config.hidden_size  # not counted as active there
    assert (active_parameter_count(config) - embedding) / 1e9 == pytest.approx(billions, rel=0.025)


def test_the_figures_of_v3_are_the_published_ones(tmp_path):
    config = replace(decoder_config(V3, "config.json"), prediction=None)
    assert parameter_count(config) == 671_026_419_200  # Transformers' 671 026 404 352 and biases
    assert active_parameter_count(config) / 1e9 == pytest.approx(37, rel=0.02)
    whole = parameter_count(decoder_config(V3, "config.json"))
    assert (whole - 671_026_419_200) / 1e9 == pytest.approx(11.6, rel=0.005)  # 11.5 and join
    figures = total_figures(config, 4096)
    assert figures.cache_bytes == 61 * (512 + 64) * 2  # 70 272 B, as the paper of V2 counts
    attention = 3 * 2 * 61 * 128 * (192 + 128)  # a token's queries with all keys and values
    assert figures.flops_per_token_square - figures.flops_per_token == attention * 4096 / 2


def test_describe_does_little_work_for_v3(tmp_path):
    """Its calls are those of 58 layers of 256 experts, each matrix looked at by name."""
    (tmp_path / "config.json").write_text(json.dumps(V3))
    shown = described(tmp_path, 3_500_000)
    assert "671,026,419,200" in shown
    assert "68.62 KiB a token" in shown
    assert "not counted: 11,610,068,224" in shown
