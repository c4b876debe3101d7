"""Every kind of dense family trains from nothing, alone and in a pipeline with the same bits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from family_helpers import (
    assert_same_bits_in_a_pipeline,
    assert_transformers_opens,
    trained_alone,
)
from jllm.models.families import read_config
from jllm.parallel.config.config import TrainConfig
from training_helpers import alone, changed, train

FAMILIES = {
    "qwen": {"architectures": ["QWenLMHeadModel"], "kv_channels": 4, "seq_length": 4},
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_key_value_heads": 2,
    },
    "olmo2": {
        "architectures": ["Olmo2ForCausalLM"],
        "model_type": "olmo2",
        "num_key_value_heads": 2,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "num_key_value_heads": 2,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "num_key_value_heads": 2,
        "head_dim": 4,
    },
    "internlm2": {"architectures": ["InternLM2ForCausalLM"], "num_key_value_heads": 2},
    "baichuan2-13b": {
        "architectures": ["BaichuanForCausalLM"],
        "model_max_length": 64,
        "z_loss_weight": 0,
    },
    "mistral-window": {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "num_key_value_heads": 2,
        "sliding_window": 3,
    },
}


@pytest.fixture(scope="module", params=FAMILIES)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return trained_alone(tmp_path_factory.mktemp(request.param), FAMILIES[request.param])


def test_a_pipeline_has_the_same_bits(config: TrainConfig) -> None:
    assert_same_bits_in_a_pipeline(config)


@pytest.mark.parametrize(
    "config", [name for name in FAMILIES if "model_type" in FAMILIES[name]], indirect=True
)
def test_transformers_opens_the_families_that_it_has(config: TrainConfig) -> None:
    assert_transformers_opens(config)


@pytest.mark.parametrize("config", ["internlm2"], indirect=True)
def test_replicas_save_the_same_grouped_tensors(config: TrainConfig) -> None:
    other, short = changed(config, "replicas", max_steps=2), changed(config, "short", max_steps=2)
    train(2, other)
    alone(short)
    ours, theirs = (load_file(Path(c.checkpoint) / "2/model.safetensors") for c in (other, short))
    assert ours.keys() == theirs.keys()
    for tensor, values in theirs.items():
        torch.testing.assert_close(ours[tensor], values, rtol=1e-3, atol=1e-4)
    assert read_config(Path(other.checkpoint) / "2") == read_config(Path(config.model))
