"""The balance of experts: gradients against a loss written out naively, counts against a loop."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.initialize import initialize_
from jllm.models.decoder.stage import Stage
from jllm.models.experts.balance import (
    BalanceLoss,
    BalanceTerms,
    auxiliary_weights,
    moved_bias,
)
from jllm.models.experts.moe import MoE
from jllm.models.experts.routing import route
from jllm.models.layers.documents import Documents
from tiny_model_helpers import (
    gradients,
    random_targets,
    random_tokens,
    reference_model,
    relative_error,
    saved,
)

LENGTH, SEQUENCES, CHOSEN = 14, 3, 3
BOUNDS = [0, 9, 14, 20, 28, 37, 42]  # documents of three sequences of 14 tokens
COUNTED = [True, False, True, True, False, False]  # of the third sequence nothing counts
TOKENS, COUNTED_SEQUENCES = 9 + 6 + 8, 2
BEFORE = torch.tensor([5, 0, 7, 1, 40, 16])


@pytest.fixture(scope="module", params=["qwen2-moe-sparse-window", "qwen3-moe", "sigmoid"])
def config(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DecoderConfig:
    """Configurations of Qwen, and one that routes like DeepSeek-V3."""
    sigmoid = request.param == "sigmoid"
    name = "qwen3-moe" if sigmoid else request.param
    read = saved(reference_model(name), tmp_path_factory.mktemp("model"))
    assert read.experts
    if sigmoid:
        routing = {"scoring": "sigmoid", "router_bias": True, "groups": 3, "groups_per_token": 2}
        read = replace(read, experts=replace(read.experts, **routing))
    return replace(read, initializer_range=0.3)


def fresh(config: DecoderConfig, **options: Any) -> Stage:
    """Return a stage of the whole model, always with the same weights."""
    stage = Stage(config, range(unit_count(config)), **options)
    initialize_(stage, config, 7)
    for mixture in mixtures(stage):
        if mixture.router_bias is not None:
            mixture.router_bias.copy_(torch.linspace(-0.1, 0.1, len(mixture.router_bias)))
    return stage


def counted_tokens() -> Tensor:
    return torch.tensor(COUNTED).repeat_interleave(torch.tensor(BOUNDS).diff())


def terms(loss: BalanceLoss, sequences: range = range(SEQUENCES)) -> BalanceTerms:
    """Return the terms of a micro-batch that holds some of the sequences."""
    part = slice(sequences.start * LENGTH, sequences.stop * LENGTH)
    return BalanceTerms(
        loss=loss,
        counted_T=counted_tokens()[part],
        length=LENGTH,
        tokens=TOKENS,
        sequences=COUNTED_SEQUENCES,
    )


def mixtures(stage: Stage) -> list[MoE]:
    return [unit for unit in stage.units.values() if isinstance(unit, MoE)]


def watch_routers(stage: Stage) -> list[Tensor]:
    """Return the list to which each router adds its logits when the stage runs."""
    logits: list[Tensor] = []
    for mixture in mixtures(stage):
        mixture.router.register_forward_hook(lambda module, x, y: logits.append(y))
    return logits


def choices_of(mixture: MoE, logits: Tensor) -> list[list[int]]:
    """Return the experts of each token."""
    settings = mixture.settings
    chosen = route(
        logits,
        CHOSEN,
        renormalise=False,
        scoring=settings.scoring,
        bias_E=mixture.router_bias,
        groups=settings.groups,
        groups_per_token=settings.groups_per_token,
    )
    return chosen.experts_TA.tolist()


def naive_auxiliary(mixture: MoE, logits: Tensor, loss: BalanceLoss) -> Tensor:
    """Write the auxiliary loss of a layer out, token by token and expert by expert."""
    experts = logits.shape[1]
    if mixture.settings.scoring == "sigmoid":
        probabilities = logits.sigmoid() / logits.sigmoid().sum(-1, keepdim=True)
    else:
        probabilities = logits.softmax(-1)
    choices = choices_of(mixture, logits)
    counted = [token for token in range(len(logits)) if counted_tokens()[token]]
    sequences = [range(LENGTH * s, LENGTH * (s + 1)) for s in range(SEQUENCES)]
    groups = [[t for t in counted if t in s] for s in sequences]
    total = torch.zeros(())
    for group in [g for g in groups if g] if loss.scope == "sequence" else [counted]:
        value = torch.zeros(())
        for expert in range(experts):
            share = sum(choices[t].count(expert) for t in group) / (CHOSEN * len(group))
            if loss.scope == "global":
                share = int(BEFORE[expert]) / int(BEFORE.sum())
            mean = sum(probabilities[t, expert] for t in group) / len(group)
            value = value + experts * share * mean
        total = total + value
    return loss.alpha * total / (COUNTED_SEQUENCES if loss.scope == "sequence" else 1)


def naive_z(logits: Tensor, loss: BalanceLoss) -> Tensor:
    """Write the z-loss of a layer out."""
    squares = [
        logits[token].exp().sum().log() ** 2
        for token in range(len(logits))
        if counted_tokens()[token]
    ]
    return loss.z_alpha * sum(squares) / len(squares)


LOSSES = [
    BalanceLoss(alpha=0.3),
    BalanceLoss(alpha=0.3, scope="global"),
    BalanceLoss(z_alpha=0.02),
    BalanceLoss(alpha=0.2, z_alpha=0.01, backward_scale=3.0),
]


@pytest.mark.parametrize("loss", LOSSES, ids=["sequence", "global", "z", "scaled"])
@pytest.mark.parametrize("recompute", [0, 1])
def test_every_gradient_is_that_of_the_losses_added_to_the_whole(
    config: DecoderConfig, loss: BalanceLoss, recompute: int
) -> None:
    tokens, targets = random_tokens(BOUNDS[-1]), random_targets(BOUNDS[-1])
    documents = Documents.from_bounds(BOUNDS)
    ours = fresh(config, recompute_interval=recompute)
    for mixture in mixtures(ours):
        mixture.tally.before_E = BEFORE
    (ours(tokens, documents, targets, terms(loss)) / TOKENS).backward()

    naive = fresh(config)
    logits = watch_routers(naive)
    whole = naive(tokens, documents, targets) / TOKENS
    extra = [
        (naive_auxiliary(mixture, each, loss), naive_z(each, loss))
        for mixture, each in zip(mixtures(naive), logits, strict=True)
    ]
    (whole + loss.backward_scale * sum(a + z for a, z in extra)).backward()

    plain = fresh(config)
    (plain(tokens, documents, targets) / TOKENS).backward()
    assert relative_error(*(next(iter(gradients(s).values())) for s in (naive, plain))) > 1e-3
    expected = gradients(naive)
    for name, gradient in gradients(ours).items():
        # Some units of rounding; what the losses add is above 1e-3.
        assert relative_error(gradient, expected[name]) < 1e-5, name
    for mixture, (auxiliary, z) in zip(mixtures(ours), extra, strict=True):
        found = mixture.tally.losses_2.tolist()
        assert found == pytest.approx([auxiliary.item(), z.item()], rel=1e-6)
        assert int(mixture.tally.loads_E.sum()) == TOKENS * CHOSEN  # once, recomputed or not


def test_counts_are_those_of_a_loop_and_even_use_costs_alpha(config: DecoderConfig) -> None:
    stage = fresh(config)
    logits, documents = watch_routers(stage), Documents.from_bounds(BOUNDS)
    even = terms(BalanceLoss(alpha=0.25, scope="global"))  # before the first step
    targets = random_targets(BOUNDS[-1])
    stage(random_tokens(BOUNDS[-1]), documents, targets, even).backward()
    for mixture, each in zip(mixtures(stage), logits, strict=True):
        loads = [0] * each.shape[1]
        for token, chosen in enumerate(choices_of(mixture, each)):
            for expert in chosen:
                loads[expert] += bool(counted_tokens()[token])
        assert mixture.tally.loads_E.tolist() == loads
        assert sum(loads) == TOKENS * CHOSEN
        assert mixture.tally.losses_2.tolist() == pytest.approx([0.25, 0], rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES[:3], ids=["sequence", "global", "z"])
def test_micro_batches_of_one_sequence_add_up_to_the_step(
    config: DecoderConfig, loss: BalanceLoss
) -> None:
    stages = [fresh(config) for _ in range(2)]
    tokens, targets = random_tokens(BOUNDS[-1]), random_targets(BOUNDS[-1])
    whole, parts = stages
    whole(tokens, Documents.from_bounds(BOUNDS), targets, terms(loss)).backward()
    for number, bounds in enumerate(([0, 9, 14], [0, 6, 14], [0, 9, 14])):
        part, documents = slice(LENGTH * number, LENGTH * (number + 1)), bounds
        balance = terms(loss, range(number, number + 1))
        parts(tokens[part], Documents.from_bounds(documents), targets[part], balance).backward()
    for one, other in zip(mixtures(whole), mixtures(parts), strict=True):
        assert torch.equal(one.tally.loads_E, other.tally.loads_E)
        torch.testing.assert_close(one.tally.losses_2, other.tally.losses_2, rtol=1e-6, atol=0)
    expected = gradients(whole)
    for name, gradient in gradients(parts).items():
        # Products add the tokens up in another order, each kernel in its own: found up to 3.3e-6.
        assert relative_error(gradient, expected[name]) < 2e-5, name


def test_nothing_that_does_not_count_is_felt(config: DecoderConfig) -> None:
    """Other tokens where nothing counts change neither tally nor gradient; where all does, both."""
    not_felt, felt = (
        [filled_run(config, filler, counted) for filler in (3, 11)]
        for counted in (counted_tokens(), torch.ones(BOUNDS[-1], dtype=torch.bool))
    )
    assert difference(*not_felt) < 1e-5
    assert difference(*felt) > 1e-2
    assert not_felt[0][0] == not_felt[1][0]
    assert felt[0][0] != felt[1][0]


def filled_run(
    config: DecoderConfig, filler: int, counted_T: Tensor
) -> tuple[list[list[int]], dict[str, Tensor]]:
    """Train on tokens that are `filler` where COUNTED is not; return loads and gradients."""
    stage, targets = fresh(config), random_targets(BOUNDS[-1])
    tokens = torch.where(counted_tokens(), random_tokens(BOUNDS[-1]), filler)
    balance = replace(terms(BalanceLoss(alpha=0.3, z_alpha=0.1)), counted_T=counted_T)
    documents = Documents.from_bounds(BOUNDS)
    stage(tokens, documents, targets.masked_fill(~counted_tokens(), -100), balance).backward()
    return [mixture.tally.loads_E.tolist() for mixture in mixtures(stage)], gradients(stage)


def difference(
    one: tuple[list[list[int]], dict[str, Tensor]], other: tuple[list[list[int]], dict[str, Tensor]]
) -> float:
    """Return the largest relative difference of a router's gradients.

    Not bitwise: how many rows an expert has depends on all tokens, and a row may have other bits in
    a product of few rows than in one of many. `test_bits_on_every_cpu` holds the bits of the rest.
    """
    routers = [name for name in one[1] if name.endswith(".mlp.gate.weight")]
    assert routers
    return max(relative_error(one[1][name], other[1][name]) for name in routers)


def test_evaluation_counts_nothing_and_changes_nothing(config: DecoderConfig) -> None:
    stage, tokens = fresh(config), random_tokens(BOUNDS[-1])
    documents, targets = Documents.from_bounds(BOUNDS), random_targets(BOUNDS[-1])
    balance = terms(BalanceLoss(alpha=1.0, z_alpha=1.0))
    with torch.no_grad():
        loss = stage(tokens, documents, targets, balance)
    assert torch.equal(loss, stage(tokens, documents, targets))
    assert math.isfinite(float(loss))
    for mixture in mixtures(stage):
        assert not mixture.tally.loads_E.any() and not mixture.tally.losses_2.any()


def test_the_bias_rises_below_the_mean_load_and_falls_above() -> None:
    bias, loads = torch.tensor([0.5, 0.0, -0.5, 1.0]), torch.tensor([3, 4, 5, 4])
    found = moved_bias(bias, loads, 0.25)
    assert found.tolist() == [0.75, 0.0, -0.75, 1.0]
    uneven = torch.tensor([2**40, 2**40 + 1, 2**40])  # a mean that no float32 tells from the loads
    assert moved_bias(torch.zeros(3), uneven, 1.0).tolist() == [1.0, -1.0, 1.0]


@pytest.mark.parametrize("counted", [True, False])
def test_the_shares_of_a_step_that_counted_nothing_are_numbers(counted: bool) -> None:
    terms = BalanceTerms(
        loss=BalanceLoss(alpha=1.0, scope="global"),
        counted_T=torch.tensor([counted]),
        length=1,
        tokens=1,
        sequences=1,
    )
    counts_SE = torch.ones(1, 4, dtype=torch.int64)
    weights_TE = auxiliary_weights(counts_SE, 2, terms, torch.zeros(4, dtype=torch.int64))
    assert weights_TE.tolist() == [[0.0] * 4]
