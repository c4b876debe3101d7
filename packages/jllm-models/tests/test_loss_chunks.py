"""The chunked head equals a whole float64 softmax, whatever the chunk."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from jllm.models.decoder.loss import linear_cross_entropy


def inputs(tokens=23, hidden=8, vocabulary=31, dtype=torch.float32, seed=0):
    """Return hidden, weight and targets of which some are untrained."""
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(tokens, hidden, generator=generator).to(dtype).requires_grad_()
    weight_VD = torch.randn(vocabulary, hidden, generator=generator).to(dtype).requires_grad_()
    targets_T = torch.randint(-vocabulary // 2, vocabulary, (tokens,), generator=generator)
    return hidden_TD, weight_VD, targets_T.masked_fill(targets_T < 0, -100)


def exact(hidden_TD, weight_VD, targets_T):
    """Return loss and gradients in float64, of a loss that is divided by seven."""
    hidden, weight = (x.detach().double().requires_grad_() for x in (hidden_TD, weight_VD))
    loss = functional.cross_entropy(hidden @ weight.t(), targets_T, reduction="sum")
    (loss / 7).backward()
    return loss.detach(), hidden.grad, weight.grad


@settings(max_examples=25, deadline=None)
@given(tokens=st.integers(1, 40), chunk=st.integers(1, 45), seed=st.integers(0, 99))
def test_loss_and_gradients_equal_float64(tokens, chunk, seed):
    hidden, weight, targets = inputs(tokens, seed=seed)
    loss = linear_cross_entropy(hidden, weight, targets, chunk)
    (loss / 7).backward()
    expected = exact(hidden, weight, targets)
    for ours, theirs in zip((loss, hidden.grad, weight.grad), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5, check_dtype=False)


def test_no_trained_token_gives_zero_and_zero_gradients():
    hidden, weight, targets = inputs()
    loss = linear_cross_entropy(hidden, weight, torch.full_like(targets, -100), 4)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))
    assert torch.equal(weight.grad, torch.zeros_like(weight))


def test_bfloat16_is_summed_in_fp32():
    hidden, weight, targets = inputs(400, 64, 200, dtype=torch.bfloat16)
    loss = linear_cross_entropy(hidden, weight, targets, 16)
    (loss / 7).backward()
    expected = exact(hidden, weight, targets)
    assert loss.dtype == torch.float32
    assert hidden.grad.dtype == weight.grad.dtype == torch.bfloat16
    for ours, theirs in zip((loss, hidden.grad, weight.grad), expected, strict=True):
        assert (ours.double() - theirs).norm() <= 0.01 * theirs.norm()


def test_huge_logits_stay_finite():
    hidden, weight, targets = inputs()
    loss = linear_cross_entropy(hidden * 1e4, weight, targets, 5)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(hidden.grad).all()


def test_only_the_gradients_that_are_wanted_are_computed():
    hidden, weight, targets = inputs()
    expected = exact(hidden, weight, targets)
    frozen = linear_cross_entropy(hidden, weight.detach(), targets, 5)
    (frozen / 7).backward()
    assert weight.grad is None
    torch.testing.assert_close(hidden.grad.double(), expected[1], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets, 5)
    assert not loss.requires_grad
    torch.testing.assert_close(loss.double(), expected[0])


@pytest.mark.parametrize("wrong", [31, -1])
def test_a_target_outside_the_vocabulary_is_refused(wrong):
    hidden, weight, targets = inputs()
    targets[3] = wrong
    with pytest.raises(ValueError, match=f"target {wrong} is outside the vocabulary of 31"):
        linear_cross_entropy(hidden, weight, targets, 5)


def test_a_second_backward_is_refused_rather_than_wrong():
    hidden, weight, targets = inputs()
    loss = linear_cross_entropy(hidden, weight, targets, 5)
    loss.backward(torch.tensor(0.5), retain_graph=True)
    with pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward(torch.tensor(0.5))
