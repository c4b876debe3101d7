"""The steps of a mixture of experts, each against its plain definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from jllm.models.experts.combination import combine
from jllm.models.experts.computation import (
    CPU_DTYPES,
    compute_experts,
    multiply_grouped,
    multiply_in_a_loop,
    runs_grouped,
)
from jllm.models.experts.permutation import permutation, permute
from jllm.models.experts.routing import route

SIZES = st.tuples(st.integers(1, 30), st.integers(1, 7), st.integers(0, 99))
WIDTH, INNER = 16, 8


def drawn(sizes, per_token=None):
    """Return tokens, logits with ties, and the experts of a token of a random layer."""
    tokens, experts, seed = sizes
    generator = torch.Generator().manual_seed(seed)
    x_TD = torch.randn(tokens, WIDTH, generator=generator)
    logits_TE = torch.randint(-2, 3, (tokens, experts), generator=generator).float()
    return x_TD, logits_TE, per_token or 1 + seed % experts


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, renormalise=st.booleans())
def test_routing_takes_the_largest_probabilities(sizes, renormalise):
    _, logits_TE, per_token = drawn(sizes)
    routing = route(logits_TE, per_token, renormalise=renormalise)
    probabilities = logits_TE.softmax(-1)
    weights, experts = probabilities.topk(per_token, dim=-1)
    weights = weights / weights.sum(-1, keepdim=True) if renormalise else weights
    assert torch.equal(routing.experts_TA, experts)
    assert torch.equal(routing.weights_TA, weights)
    assert all(len(set(row)) == per_token for row in routing.experts_TA.tolist())


def test_probabilities_of_narrow_logits_are_computed_wide():
    logits_TE = torch.randn(9, 5).bfloat16()
    wide = route(logits_TE.float(), 2, renormalise=True)
    narrow = route(logits_TE, 2, renormalise=True)
    assert torch.equal(narrow.experts_TA, wide.experts_TA)
    assert torch.equal(narrow.weights_TA, wide.weights_TA.bfloat16())


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES)
def test_permutation_sorts_by_expert_and_then_by_token(sizes):
    x_TD, logits_TE, per_token = drawn(sizes)
    experts_TA = route(logits_TE, per_token, renormalise=False).experts_TA
    sorting = permutation(experts_TA, logits_TE.shape[1])
    choices = [(e, t, a) for t, row in enumerate(experts_TA.tolist()) for a, e in enumerate(row)]
    choices.sort()
    assert sorting.order_R.tolist() == [t * per_token + a for _, t, a in choices]
    assert sorting.order_R[sorting.places_TA].flatten().tolist() == list(range(len(choices)))
    counted = [sum(e == expert for e, _, _ in choices) for expert in range(logits_TE.shape[1])]
    assert sorting.counts_E.tolist() == counted
    assert torch.equal(permute(x_TD, sorting), x_TD[[t for _, t, _ in choices]])


@settings(max_examples=20, deadline=None)
@given(sizes=SIZES)
def test_gradients_of_permutation_and_combination_are_those_of_their_definition(sizes):
    x_TD, logits_TE, per_token = drawn(sizes)
    x_TD = x_TD.double().requires_grad_()
    routing = route(logits_TE, per_token, renormalise=False)
    weights_TA = routing.weights_TA.double().requires_grad_()
    sorting = permutation(routing.experts_TA, logits_TE.shape[1])
    scale_R1 = torch.arange(1.0, len(sorting.order_R) + 1)[:, None].double()
    ours = combine(permute(x_TD, sorting) * scale_R1, weights_TA, sorting)
    scales_TA = scale_R1[:, 0][sorting.places_TA]
    theirs = x_TD * (weights_TA * scales_TA).sum(1, keepdim=True)
    outward = torch.randn_like(theirs)
    for one, other in zip(
        (ours, *torch.autograd.grad(ours, (x_TD, weights_TA), outward)),
        (theirs, *torch.autograd.grad(theirs, (x_TD, weights_TA), outward)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)  # sums are in fp32


def multiplied(multiply, x_RI, weight_EOI, ends_E):
    """Return a product and both of its gradients."""
    x_RI, weight_EOI = x_RI.clone().requires_grad_(), weight_EOI.clone().requires_grad_()
    y_RO = multiply(x_RI, weight_EOI, ends_E)
    outward = torch.linspace(-1, 1, y_RO.numel(), dtype=y_RO.dtype).view_as(y_RO)
    return y_RO, *torch.autograd.grad(y_RO, (x_RI, weight_EOI), outward)


@pytest.mark.parametrize("dtype", CPU_DTYPES)
@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any))
def test_the_grouped_product_has_the_bits_of_the_loop(dtype, counts):
    x_RI = torch.randn(sum(counts), WIDTH).to(dtype)
    weight_EOI = torch.randn(len(counts), 24, WIDTH).to(dtype)
    assert runs_grouped(weight_EOI)
    ends_E = torch.tensor(counts).cumsum(0, dtype=torch.int32)
    loop, grouped = (
        multiplied(multiply, x_RI, weight_EOI, ends_E)
        for multiply in (multiply_in_a_loop, multiply_grouped)
    )
    for one, other in zip(loop, grouped, strict=True):
        assert torch.equal(one, other)
    idle = torch.tensor(counts) == 0
    assert not grouped[2][idle].any()


@pytest.mark.parametrize(
    ("inner", "dtype"),
    [(INNER, torch.float32), (INNER + 1, torch.float32), (INNER, torch.float64)],
    ids=["grouped", "unaligned", "float64"],
)
def test_each_row_goes_through_its_own_expert(inner, dtype):
    counts_E, place = torch.tensor([3, 0, 4]), {"dtype": dtype}
    x_RD, gate_up = torch.randn(7, WIDTH, **place), torch.randn(3, 2 * inner, WIDTH, **place)
    down = torch.randn(3, WIDTH, inner, **place)
    assert runs_grouped(down) == (inner == INNER and dtype == torch.float32)
    ours = compute_experts(x_RD, gate_up, down, counts_E)
    for row, expert in enumerate([0, 0, 0, 2, 2, 2, 2]):
        gate, up = (gate_up[expert] @ x_RD[row]).chunk(2)
        theirs = down[expert] @ (functional.silu(gate) * up)
        torch.testing.assert_close(ours[row], theirs, rtol=1e-5, atol=1e-4)


def test_threads_do_not_change_the_bits_of_the_sums():
    x_TD, logits_TE, _ = drawn((4000, 7, 1))
    routing = route(logits_TE, 5, renormalise=False)
    sorting = permutation(routing.experts_TA, 7)
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        leaf_TD = x_TD.clone().requires_grad_()
        combine(permute(leaf_TD, sorting), routing.weights_TA, sorting).sin().sum().backward()
        found.append(leaf_TD.grad)
    torch.set_num_threads(threads)
    assert torch.equal(*found)
