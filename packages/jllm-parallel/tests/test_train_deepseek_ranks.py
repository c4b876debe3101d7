"""DeepSeek-V2 and V3 train from nothing, alone and in a pipeline with the same bits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from family_helpers import (
    assert_same_bits_in_a_pipeline,
    assert_transformers_opens,
    trained_alone,
)
from jllm.parallel.config.config import TrainConfig
from training_helpers import alone, changed, losses

DEEPSEEK = {
    "kv_lora_rank": 12,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 8,
    "first_k_dense_replace": 1,
}
FAMILIES = {
    "deepseek-v2-lite": {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        **DEEPSEEK,
        "q_lora_rank": None,
    },
    "deepseek-v3": {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        **DEEPSEEK,
        "q_lora_rank": 16,
        "n_group": 2,
        "topk_group": 1,
    },
}


@pytest.fixture(scope="module", params=FAMILIES)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return trained_alone(tmp_path_factory.mktemp(request.param), FAMILIES[request.param])


def test_a_pipeline_has_the_same_bits(config: TrainConfig) -> None:
    assert_same_bits_in_a_pipeline(config)


def test_transformers_opens_what_was_trained(config: TrainConfig) -> None:
    assert_transformers_opens(config)


@pytest.mark.parametrize("config", ["deepseek-v3"], indirect=True)
def test_bfloat16_training_keeps_the_routers_bias_in_float32(config: TrainConfig) -> None:
    other = changed(config, "narrow", max_steps=2, dtype="bfloat16")
    alone(other)
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    folder = Path(other.checkpoint) / "2"
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.get_tensor(name).dtype == torch.float32
        assert file.get_tensor("model.norm.weight").dtype == torch.bfloat16
    for moments in folder.glob("trainer/*.safetensors"):
        with safe_open(moments, framework="pt") as file:
            assert name not in file.keys()  # noqa: SIM118
    again = replace(other, max_steps=3, resume_ckpt=str(other.checkpoint))
    alone(again)
    assert len(losses(Path(other.checkpoint))) == 3
