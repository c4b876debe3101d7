"""Sigmoid and SwiGLU (arXiv:2002.05202) whose bits do not depend on the place of an element.

On the CPU torch's `sigmoid`, `silu` and `gelu` run different code for the last elements of a piece,
with different bits, so a token's result would depend on its neighbours and on the number of
threads. There they are composed from exp and the four arithmetic operations, which give an element
the same bits everywhere, block by block, so that temporaries stay in the cache. An accelerator runs
the same code for every element, and torch's own operators are used.

Letters: T tokens, F intermediate_size.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

BLOCK = 2**17
"""Number of elements computed at once on the CPU: 512 KiB of fp32."""


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + exp(−x)), computed in at least fp32 and rounded once to the dtype of x."""
    return _Sigmoid.apply(x)


def swiglu(gate_up_T2F: Tensor) -> Tensor:
    """Return silu(gate) · up of the two halves: [T, 2F] to [T, F].

    silu(x) = x · sigmoid(x) is computed in at least fp32; it and the product are each rounded to
    the dtype of the input.
    """
    return _SwiGLU.apply(gate_up_T2F)


class _Sigmoid(torch.autograd.Function):
    """Sigmoid that keeps only its result."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            y = _one_and_exp(x.to(_wide(x))).reciprocal_().to(x.dtype)
        else:
            y = torch.sigmoid(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        wide = y.to(_wide(y))
        return (1 - wide).mul_(wide).mul_(grad).to(y.dtype)


class _SwiGLU(torch.autograd.Function):
    """SwiGLU that keeps only its input; silu(gate) is recomputed for the gradient."""

    @staticmethod
    def forward(ctx: Any, gate_up_T2F: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_T2F)
        gate_TF, up_TF = gate_up_T2F.chunk(2, dim=-1)
        if gate_TF.device.type != "cpu":
            return functional.silu(gate_TF).mul_(up_TF)
        out_TF = torch.empty_like(gate_TF, memory_format=torch.contiguous_format)
        for rows in _blocks(gate_TF):
            gate, out = gate_TF[rows].to(_wide(gate_TF)), out_TF[rows]
            torch.div(gate, _one_and_exp(gate), out=out).mul_(up_TF[rows])
        return out_TF

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad_TF: Tensor) -> Tensor:
        (gate_up_T2F,) = ctx.saved_tensors
        gate_TF, up_TF = gate_up_T2F.chunk(2, dim=-1)
        out_T2F = torch.empty_like(gate_up_T2F)
        out_gate_TF, out_up_TF = out_T2F.chunk(2, dim=-1)
        if gate_TF.device.type != "cpu":
            torch.mul(functional.silu(gate_TF), grad_TF, out=out_up_TF)
            torch.mul(grad_TF, up_TF, out=out_gate_TF)
            torch.ops.aten.silu_backward.grad_input(out_gate_TF, gate_TF, grad_input=out_gate_TF)
            return out_T2F
        one = torch.ones((), dtype=_wide(gate_TF))
        for rows in _blocks(gate_TF):
            gate, up, grad = (x[rows].to(one.dtype) for x in (gate_TF, up_TF, grad_TF))
            share = _one_and_exp(gate).reciprocal_()
            silu = gate * share
            # The derivative of silu; where exp(−gate) is infinite, share is 0 and so is the slope.
            slope = torch.sub(one, share).mul_(silu).add_(share)
            torch.mul(slope.mul_(grad), up, out=out_gate_TF[rows])
            torch.mul(silu, grad, out=out_up_TF[rows])
        return out_T2F


def _wide(x: Tensor) -> torch.dtype:
    """Return the dtype to compute in: that of x, or fp32 where that is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def _one_and_exp(x: Tensor) -> Tensor:
    """Return 1 + exp(−x) as a new tensor."""
    return x.neg().exp_().add_(1)


def _blocks(x_TF: Tensor) -> Iterator[slice]:
    """Yield slices of rows with about BLOCK elements each."""
    tokens, width = x_TF.shape
    size = max(1, BLOCK // max(1, width))
    return (slice(start, start + size) for start in range(0, tokens, size))
