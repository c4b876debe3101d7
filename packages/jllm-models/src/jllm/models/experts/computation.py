"""The experts' SwiGLU over rows that are sorted by expert.

Two ways to multiply each expert's rows with its matrix: a plain loop, which is the reference and
asks the device for the counts, and `torch.nn.functional.grouped_mm`, which does not and is one
kernel on CUDA. On the CPU both give the same bits.

Letters: R rows, E experts, D hidden_size, F width inside an expert, I and O any widths.
"""

import torch
from torch import Tensor
from torch.nn import functional

from jllm.models.mlp import swiglu

ALIGNMENT = 16
"""Bytes that the rows of a grouped product's operands are a multiple of."""


def compute_experts(
    x_RD: Tensor, gate_up_E2FD: Tensor, down_EDF: Tensor, counts_E: Tensor
) -> Tensor:
    """Return down(silu(gate(x)) · up(x)) of each row by its own expert; x [R, D] in and out.

    counts_E: rows of each expert, int64; an expert without rows has gradients of zero.
    """
    ends_E = counts_E.cumsum(0, dtype=torch.int32)
    return multiply(swiglu(multiply(x_RD, gate_up_E2FD, ends_E)), down_EDF, ends_E)


def multiply(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply each expert's rows with its matrix, in the way that runs; [R, O]."""
    multiply = multiply_grouped if runs_grouped(weight_EOI) else multiply_in_a_loop
    return multiply(x_RI, weight_EOI, ends_E)


def runs_grouped(weight_EOI: Tensor) -> bool:
    """Say whether `grouped_mm` takes matrices of this dtype, device and shape.

    Rows must be aligned, and accelerators take bfloat16 alone (compute capability 8.0 or more).
    """
    aligned = all(size * weight_EOI.itemsize % ALIGNMENT == 0 for size in weight_EOI.shape[1:])
    return aligned and (weight_EOI.dtype == torch.bfloat16 or weight_EOI.device.type == "cpu")


def multiply_grouped(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply by `grouped_mm`; ends_E: where the rows of each expert end, int32; [R, O]."""
    return functional.grouped_mm(x_RI, weight_EOI.transpose(1, 2), offs=ends_E)


def multiply_in_a_loop(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply one expert after the other; as `multiply_grouped`."""
    parts = zip(x_RI.tensor_split(ends_E[:-1].tolist()), weight_EOI.unbind(), strict=True)
    return torch.cat([functional.linear(part, weight_OI) for part, weight_OI in parts])
