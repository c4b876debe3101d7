"""Sigmoid and SwiGLU against float64, at numbers of every size, and what they keep."""

import pytest
import torch
from torch.nn import functional

from jllm.models.layers import activation
from jllm.models.layers.activation import sigmoid, swiglu

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def numbers(dtype: torch.dtype) -> torch.Tensor:
    """Return numbers among which exp overflows and underflows, in fp32 and narrower."""
    return torch.linspace(-200, 200, 4001).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_and_its_gradient_are_those_of_float64(dtype: torch.dtype) -> None:
    x, wide = numbers(dtype).requires_grad_(), numbers(dtype).double().requires_grad_()
    ours, theirs = sigmoid(x), wide.sigmoid()
    ours.sum().backward()
    theirs.sum().backward()
    assert ours.dtype == dtype and x.grad is not None and wide.grad is not None
    unit = torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), theirs, rtol=2 * unit, atol=1e-7)
    # 1 − y of the rounded y: an error of a unit of y.
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=2 * unit, atol=unit)
    assert not x.grad[x < -150].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_swiglu_and_its_gradient_are_those_of_float64(dtype: torch.dtype) -> None:
    gate = numbers(dtype)
    up, grad = (torch.linspace(*ends, len(gate)).to(dtype) for ends in ((-2, 3), (2, -1)))
    x = torch.cat([gate, up]).view(1, -1).requires_grad_()
    wide = x.detach().double().requires_grad_()
    wide_gate, wide_up = wide.chunk(2, dim=-1)
    ours, theirs = swiglu(x), functional.silu(wide_gate) * wide_up
    ours.backward(grad.view(1, -1))
    theirs.backward(grad.double().view(1, -1))
    assert ours.dtype == dtype and x.grad is not None and wide.grad is not None
    unit = torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), theirs, rtol=4 * unit, atol=4 * unit)
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=4 * unit, atol=4 * unit)
    assert not x.grad[0, : len(gate)][gate < -150].any()


def test_bfloat16_is_fp32_rounded_once() -> None:
    x, grad = numbers(torch.bfloat16), numbers(torch.bfloat16).flip(0)
    leaf, wide = x.clone().requires_grad_(), x.float().requires_grad_()
    assert torch.equal(sigmoid(x), sigmoid(x.float()).bfloat16())
    swiglu(leaf[None, :4000]).backward(grad[None, :2000])
    swiglu(wide[None, :4000]).backward(grad[None, :2000].float())
    assert leaf.grad is not None and wide.grad is not None
    assert torch.equal(leaf.grad, wide.grad.bfloat16())


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_blocks_change_no_bit(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found, values = [], torch.randn(rows, 26, generator=torch.Generator().manual_seed(1))
    for block in (1, 3 * 13, 10**6):
        monkeypatch.setattr(activation, "BLOCK", block)
        x = values.clone().requires_grad_()
        y = swiglu(x)
        y.backward(values[:, :13])
        assert x.grad is not None
        found.append((y.detach(), x.grad))
    assert all(map(torch.equal, found[0] * 2, found[1] + found[2]))


def test_swiglu_keeps_its_input_alone() -> None:
    x, kept = torch.randn(5, 8, requires_grad=True), []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        swiglu(x)
    assert kept == [x.data_ptr()]
