"""What multi-token prediction costs is what torch counts and keeps."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cost_helpers import TOKENS, kept_bytes, narrower
from jllm.models.config.units import unit_count
from jllm.models.costs.flops import (
    active_parameter_count,
    flops_per_token,
    parameter_count,
    unit_costs,
)
from jllm.models.experts import computation
from jllm.models.layers.documents import Documents
from prediction_helpers import Naive, trained
from tiny_model_helpers import random_tokens


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("prediction")
    Naive(2).save(path)
    return path


def test_training_flops_equal_the_count_of_torch(directory, monkeypatch):
    monkeypatch.setattr(computation, "runs_grouped", lambda weight: False)
    stage, tokens = trained(directory), random_tokens(TOKENS)
    config = stage.config
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        stage(tokens, Documents.from_bounds([0, TOKENS]), tokens).backward()
    whole_square = flops_per_token(config, TOKENS, causal=False)
    layers = config.num_layers + 2
    padding = 6 * layers * config.num_heads * TOKENS * narrower(config)
    head, unpredicted = 2 * config.hidden_size * config.vocab_size, 1 + 2  # at the end
    uncounted = head * (3 * TOKENS - unpredicted)  # of the matrix, for torch counts no sum in place
    total = (whole_square + padding) * TOKENS - 3 * head * unpredicted - uncounted
    assert counter.get_total_flops() == total


def test_parameters_are_counted_once_and_active_where_they_are_computed(directory):
    config = trained(directory).config
    held, none = trained(directory, weight=0.0).config, replace(config, prediction=None)
    assert parameter_count(config) == parameter_count(held) > parameter_count(none)
    assert active_parameter_count(held) == active_parameter_count(none)
    assert active_parameter_count(config) > active_parameter_count(none)
    tied = config.vocab_size * config.hidden_size
    for each, more in ((config, tied), (held, 0), (none, 0)):
        costs = unit_costs(each, TOKENS, TOKENS)
        assert sum(cost.parameters for cost in costs) == parameter_count(each) + more
        assert sum(cost.active_parameters for cost in costs) == active_parameter_count(each) + more


@pytest.mark.parametrize("recompute", [0, 1])
def test_activation_bytes_equal_what_is_kept(recompute, directory):
    units = range(7, 8)
    stage = trained(directory, units, recompute_interval=recompute)
    config = stage.config
    x = torch.randn(TOKENS, config.hidden_size).requires_grad_()
    tokens, documents = random_tokens(TOKENS), Documents.from_bounds([0, 20, TOKENS])
    kept = kept_bytes(stage, x, documents, tokens, None, tokens)
    kept += 4 * TOKENS * (config.vocab_size + config.hidden_size)  # while the head runs
    kept -= 4 * TOKENS * config.rotary_dim * (not recompute)  # serves all layers
    cost = unit_costs(config, TOKENS, TOKENS)[unit_count(config) - 1]
    expected = cost.recomputed_bytes if recompute else cost.activation_bytes
    assert kept == pytest.approx(expected * TOKENS, rel=0.005)
