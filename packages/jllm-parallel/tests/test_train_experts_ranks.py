"""Families with experts train from nothing, alone and in a pipeline with the same bits."""

import pytest

from family_helpers import (
    assert_same_bits_in_a_pipeline,
    assert_transformers_opens,
    trained_alone,
)
from jllm.parallel.config.config import TrainConfig

EXPERTS = {
    "num_key_value_heads": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
}
FAMILIES = {
    "qwen2-moe": {
        "architectures": ["Qwen2MoeForCausalLM"],
        "model_type": "qwen2_moe",
        **EXPERTS,
        "shared_expert_intermediate_size": 12,
    },
    "qwen3-moe": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        **EXPERTS,
        "norm_topk_prob": True,
        "mlp_only_layers": [0],
    },
}


@pytest.fixture(scope="module", params=FAMILIES)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return trained_alone(tmp_path_factory.mktemp(request.param), FAMILIES[request.param])


def test_a_pipeline_has_the_same_bits(config: TrainConfig) -> None:
    assert_same_bits_in_a_pipeline(config)


def test_transformers_opens_the_experts_that_were_trained(config: TrainConfig) -> None:
    assert_transformers_opens(config)
