"""Every kind of family trains from nothing, alone and in a pipeline with the same bits."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from jllm.models.documents import Documents
from jllm.models.families import read_config
from jllm.models.load import load_stage
from jllm.models.stage import Stage
from jllm.models.units import unit_count
from jllm.parallel.config import TrainConfig
from training_helpers import (
    VOCABULARY,
    alone,
    checkpoint_bytes,
    losses,
    train,
    write_data,
)

STEPS = 20
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4} | {
    "vocab_size": VOCABULARY,
    "intermediate_size": 48,
    "initializer_range": 0.2,
}
EXPERTS = {
    "num_key_value_heads": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
FAMILIES = {
    "qwen": {"architectures": ["QWenLMHeadModel"], "kv_channels": 8, "seq_length": 4},
    "olmo2": {"architectures": ["Olmo2ForCausalLM"], "num_key_value_heads": 2},
    "internlm2": {"architectures": ["InternLM2ForCausalLM"], "num_key_value_heads": 2},
    "baichuan2-13b": {
        "architectures": ["BaichuanForCausalLM"],
        "model_max_length": 64,
        "z_loss_weight": 0,
    },
    "mistral-window": {
        "architectures": ["MistralForCausalLM"],
        "num_key_value_heads": 2,
        "sliding_window": 3,
    },
    "qwen2-moe": {
        "architectures": ["Qwen2MoeForCausalLM"],
        "model_type": "qwen2_moe",
        **EXPERTS,
        "shared_expert_intermediate_size": 24,
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
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "model").mkdir()
    (folder / "model/config.json").write_text(json.dumps(SIZES | FAMILIES[request.param]))
    values = TrainConfig(
        model=str(folder / "model"),
        init=True,
        train_data=str(write_data(folder / "data", 61)),
        num_train_epochs=5,
        max_steps=STEPS,
        learning_rate=1e-2,
        checkpoint=str(folder / "one"),
        threads=1,
    )
    alone(values)
    return values


def changed(config: TrainConfig, name: str, **changes: object) -> TrainConfig:
    folder = str(Path(config.checkpoint).with_name(name))
    return TrainConfig(**(vars(config) | {"checkpoint": folder} | changes))  # type: ignore[arg-type]


def test_a_pipeline_has_the_same_bits(config: TrainConfig) -> None:
    other = changed(config, "stages", pipe_parallel_size=2)
    train(2, other)
    one, two = Path(config.checkpoint), Path(other.checkpoint)
    assert len(losses(one)) == STEPS
    assert losses(two) == losses(one)
    assert losses(one)[-1] < losses(one)[0]
    assert checkpoint_bytes(two, STEPS) == checkpoint_bytes(one, STEPS)


@pytest.mark.parametrize("config", ["internlm2", "qwen2-moe"], indirect=True)
def test_replicas_save_the_same_grouped_tensors(config: TrainConfig) -> None:
    other = changed(config, "replicas", max_steps=2)
    train(2, other)
    short = changed(config, "short", max_steps=2)
    alone(short)
    name = "2/model.safetensors"
    ours = load_file(Path(other.checkpoint) / name)
    theirs = load_file(Path(short.checkpoint) / name)
    assert ours.keys() == theirs.keys()
    for tensor, values in theirs.items():
        torch.testing.assert_close(ours[tensor], values, rtol=1e-3, atol=1e-4)
    assert read_config(Path(other.checkpoint) / "2") == read_config(Path(config.model))


@pytest.mark.parametrize("config", ["qwen2-moe", "qwen3-moe"], indirect=True)
def test_transformers_opens_the_experts_that_were_trained(config: TrainConfig) -> None:
    saved = Path(config.checkpoint) / str(STEPS)
    theirs = AutoModelForCausalLM.from_pretrained(saved)
    decoder = read_config(saved)
    ours = Stage(decoder, range(unit_count(decoder)))
    load_stage(ours, decoder, saved)
    tokens = torch.arange(20) % VOCABULARY
    with torch.no_grad():
        expected = theirs(input_ids=tokens[None]).logits[0]
        found = ours.logits(tokens, Documents.from_bounds([0, 20]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
