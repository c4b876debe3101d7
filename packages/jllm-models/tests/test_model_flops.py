"""Costs are those that torch counts and keeps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cost_helpers import TOKENS, kept_bytes, narrower
from jllm.models.config.units import unit_count, unit_kind
from jllm.models.costs.flops import (
    active_parameter_count,
    flops_per_token,
    parameter_count,
    tokens_seen,
    unit_costs,
)
from jllm.models.experts import computation
from jllm.models.layers.documents import Documents
from own_code_helpers import write_model
from tiny_model_helpers import MODELS, loaded_stage, random_tokens, reference_model, saved

NAMES = ("llama-tied", "qwen2", "qwen3", "olmo2", "qwen", "internlm2-bias-linear", "baichuan2-7b")
NAMES += ("qwen2-moe", "qwen3-moe", "deepseek-v2-lite", "deepseek-v3", "deepseek-v3-plain")


@pytest.fixture(scope="module", params=NAMES)
def model(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    return directory, write_model(request.param, directory)


@pytest.mark.parametrize("name", MODELS)
def test_parameters_equal_those_of_transformers(name, tmp_path):
    reference = reference_model(name)
    config = saved(reference, tmp_path)
    biases = [b for n, b in reference.named_buffers() if n.endswith("e_score_correction_bias")]
    expected = reference.num_parameters() + sum(bias.numel() for bias in biases)
    assert parameter_count(config) == expected
    tied = config.vocab_size * config.hidden_size if config.tie_word_embeddings else 0
    costs = unit_costs(config, TOKENS, TOKENS)
    assert sum(cost.parameters for cost in costs) == expected + tied
    active = sum(cost.active_parameters for cost in costs) - tied
    assert active == active_parameter_count(config)


def test_training_flops_equal_the_count_of_torch(model, monkeypatch):
    directory, config = model
    monkeypatch.setattr(computation, "runs_grouped", lambda weight: False)  # torch counts no group
    stage = loaded_stage(directory)
    tokens = torch.arange(TOKENS) % config.vocab_size
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        stage.logits(tokens, Documents.from_bounds([0, TOKENS])).sum().backward()
    whole_square = flops_per_token(config, TOKENS, causal=False)
    padding = 6 * config.num_layers * config.num_heads * TOKENS * narrower(config)
    assert counter.get_total_flops() == (whole_square + padding) * TOKENS
    matrices = flops_per_token(config, 0)
    assert flops_per_token(config, TOKENS) - matrices == (whole_square - matrices) / 2
    embedding = config.vocab_size * config.hidden_size * (not config.tie_word_embeddings)
    vectors = sum(p.numel() for p in stage.tensors().values() if p.dim() == 1)
    assert matrices == 6 * (active_parameter_count(config) - embedding - vectors)


@pytest.mark.parametrize("kind", ["attention", "mlp", "head"])
def test_activation_bytes_equal_what_is_kept(model, kind):
    directory, config = model
    unit = next(u for u in range(unit_count(config)) if unit_kind(config, u) == kind)
    stage = loaded_stage(directory, range(unit, unit + 1))
    x = torch.randn(TOKENS, config.hidden_size).requires_grad_()
    targets = random_tokens(TOKENS) if kind == "head" else None
    kept = kept_bytes(stage, x, Documents.from_bounds([0, 20, TOKENS]), targets)
    if kind == "attention":
        kept -= 4 * TOKENS * config.rotary_dim  # cosine and sine serve all layers
    if kind == "head":
        kept += 4 * TOKENS * (config.vocab_size + config.hidden_size)  # while it runs
        kept += 4 * config.vocab_size * config.hidden_size * config.normalised_head
    assert kept == unit_costs(config, TOKENS, TOKENS)[unit].activation_bytes * TOKENS


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 60), window=st.integers(1, 60))
def test_tokens_seen_are_the_mean_over_the_queries_of_a_document(length, window):
    pairs = sum(min(position + 1, window) for position in range(length))
    area = pairs - min(length, window) / 2  # under the staircase that the diagonal cuts
    assert tokens_seen(length, window) * length == pytest.approx(area)
    assert tokens_seen(length, None) == length / 2
