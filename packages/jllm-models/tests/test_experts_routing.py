"""Which experts tokens go to, against a routing written as loops over tokens and experts."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.config.decoder_config import ExpertsConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.initialize import initialize_
from jllm.models.decoder.stage import Stage
from jllm.models.experts.routing import route
from jllm.models.weights.table import is_buffer, weight_table
from tiny_model_helpers import one_document, random_tokens, reference_model, saved


def naive(logits, settings, bias):
    """Return {expert: weight} of each token, in float64."""
    found = []
    for row in logits.double().tolist():
        if settings.scoring == "sigmoid":
            scores = [1 / (1 + math.exp(-x)) for x in row]
        else:
            total = sum(math.exp(x) for x in row)
            scores = [math.exp(x) / total for x in row]
        choice = [score + b for score, b in zip(scores, bias, strict=True)]
        size = len(row) // settings.groups
        groups = [range(g * size, g * size + size) for g in range(settings.groups)]
        best = settings.group_best
        groups.sort(key=lambda g: -sum(sorted((choice[e] for e in g), reverse=True)[:best]))
        allowed = [e for group in groups[: settings.groups_per_token] for e in group]
        chosen = sorted(allowed, key=lambda e: -choice[e])[: settings.experts_per_token]
        total = sum(scores[e] for e in chosen) if settings.renormalise else 1.0
        found.append({e: scores[e] / total * settings.scale for e in chosen})
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_routing_is_its_definition(data):
    groups = data.draw(st.sampled_from([1, 2, 4]))
    experts = groups * data.draw(st.integers(2, 5))
    kept = data.draw(st.integers(1, groups))
    made = ExpertsConfig(
        layers=(),
        num_experts=experts,
        experts_per_token=data.draw(st.integers(1, experts // groups * kept)),
        intermediate_size=1,
        renormalise=data.draw(st.booleans()),
        scoring=data.draw(st.sampled_from(["softmax", "sigmoid"])),
        groups=groups,
        groups_per_token=kept,
        group_best=data.draw(st.integers(1, 2)),
        scale=data.draw(st.sampled_from([1.0, 2.5])),
    )
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    logits_TE = torch.randn(7, experts, generator=generator)
    bias_E = torch.randn(experts, generator=generator) if data.draw(st.booleans()) else None
    routing = route(
        logits_TE,
        made.experts_per_token,
        renormalise=made.renormalise,
        scoring=made.scoring,
        bias_E=bias_E,
        groups=groups,
        groups_per_token=kept,
        group_best=made.group_best,
        scale=made.scale,
    )
    expected = naive(logits_TE, made, [0.0] * experts if bias_E is None else bias_E.tolist())
    for numbers, weights, reference in zip(
        routing.experts_TA.tolist(), routing.weights_TA.tolist(), expected, strict=True
    ):
        assert numbers == list(reference)  # in the order of the choice too
        assert weights == pytest.approx(list(reference.values()), rel=1e-5)


def test_scores_that_are_all_zero_give_no_nan():
    logits_TE = torch.full((2, 4), -200.0)
    routing = route(logits_TE, 2, renormalise=True, scoring="sigmoid")
    assert torch.equal(routing.weights_TA, torch.zeros(2, 2))


def test_gradients_reach_the_logits_through_the_weights_alone():
    logits_TE = torch.randn(5, 6, requires_grad=True)
    bias_E = torch.randn(6)
    routing = route(logits_TE, 2, renormalise=False, scoring="sigmoid", bias_E=bias_E, groups=3)
    routing.weights_TA.sum().backward()
    slope_TE = logits_TE.detach().sigmoid() * (1 - logits_TE.detach().sigmoid())
    expected_TE = torch.zeros(5, 6).scatter(1, routing.experts_TA, 1.0) * slope_TE
    torch.testing.assert_close(logits_TE.grad, expected_TE)


@pytest.fixture
def biased(tmp_path):
    """Return the configuration of a small model whose routers have a bias."""
    config = saved(reference_model("qwen3-moe"), tmp_path)
    return replace(config, experts=replace(config.experts, scoring="sigmoid", router_bias=True))


def test_the_routers_bias_is_a_float32_buffer_of_the_weight_table(biased):
    stage = Stage(biased, range(unit_count(biased)), dtype=torch.bfloat16)
    initialize_(stage, biased, 0)
    pieces = [piece for piece in weight_table(biased, stage.unit_range) if is_buffer(piece)]
    assert [piece.tensor for piece in pieces] == [
        f"model.layers.{layer}.mlp.gate.e_score_correction_bias" for layer in range(3)
    ]
    assert not {piece.parameter for piece in pieces} & dict(stage.named_parameters()).keys()
    for piece in pieces:
        assert torch.equal(stage.tensors()[piece.parameter], torch.zeros(6))
        assert stage.tensors()[piece.parameter].dtype == torch.float32


def test_the_bias_decides_where_tokens_go(biased):
    stage = Stage(biased, range(unit_count(biased)))
    initialize_(stage, biased, 0)
    tokens = random_tokens(24)
    before = stage.logits(tokens, one_document(24))
    bias = stage.units["2"].router_bias
    bias.fill_(3.0)  # all alike: nothing changes
    assert torch.equal(stage.logits(tokens, one_document(24)), before)
    bias[:3] += 10.0
    counts = []
    stage.units["2"].experts.register_forward_hook(lambda _m, given, _y: counts.append(given[1]))
    assert not torch.equal(stage.logits(tokens, one_document(24)), before)
    assert counts[0].tolist() == [24, 24, 24, 0, 0, 0]
