"""Rows are divided by their lengths, and the gradient goes through the division."""

import pytest
import torch
from torch.nn import functional

from jllm.models.layers.row_norm import unit_rows


def test_values_and_gradient_equal_those_of_torch():
    weight = torch.randn(9, 5).requires_grad_()
    upstream = torch.randn(9, 5)
    ours, theirs = unit_rows(weight), functional.normalize(weight)
    torch.testing.assert_close(ours, theirs)
    (mine,) = torch.autograd.grad(ours, weight, upstream)
    (other,) = torch.autograd.grad(theirs, weight, upstream)
    torch.testing.assert_close(mine, other)


def test_a_row_of_zeros_stays_finite():
    weight = torch.zeros(2, 3, requires_grad=True)
    rows = unit_rows(weight)
    assert torch.equal(rows, torch.zeros(2, 3))
    (gradient,) = torch.autograd.grad(rows, weight, torch.ones(2, 3))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lengths_of_narrow_rows_are_float32(dtype):
    weight = torch.randn(4, 4096).to(dtype)
    exact = functional.normalize(weight.double())
    found = unit_rows(weight)
    assert found.dtype == dtype
    half_a_step = 0.51 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), exact, rtol=half_a_step, atol=1e-7)


def test_a_gradient_never_lengthens_a_row():
    weight = torch.randn(7, 6, dtype=torch.float64).float().requires_grad_()
    (gradient,) = torch.autograd.grad(unit_rows(weight), weight, torch.randn(7, 6))
    along = (gradient * weight).sum(-1)
    # Sums of six products near 1; a gradient that lengthens a row has a sum near 1.
    torch.testing.assert_close(along, torch.zeros(7), rtol=0, atol=1e-5)
