"""Families with experts train from nothing, alone and in a pipeline with the same bits."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from family_helpers import STEPS, assert_same_bits_in_a_pipeline, trained_alone
from jllm.models.documents import Documents
from jllm.models.families import read_config
from jllm.models.load import load_stage
from jllm.models.stage import Stage
from jllm.models.units import unit_count
from jllm.parallel.config import TrainConfig
from training_helpers import VOCABULARY

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
