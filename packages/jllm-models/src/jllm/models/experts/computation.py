"""The experts' SwiGLU over rows that are sorted by expert.

Two ways to multiply each expert's rows with its matrix: a plain loop, which is the reference and
asks the device for the counts, and `torch.nn.functional.grouped_mm`, which from compute capability
9.0 on is one kernel that does not. Elsewhere torch loops inside it (8.x; the CPU, where both give
the same bits and this is several times faster with many experts).

Letters: R rows, E experts, D hidden_size, F width inside an expert, I and O any widths.
"""

import torch
from torch import Tensor
from torch.nn import functional

from jllm.models.layers.activation import swiglu

ALIGNMENT = 16
"""Bytes that the rows of a grouped product's operands are a multiple of."""
CPU_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What `grouped_mm` multiplies on the CPU."""


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
    """Say whether `grouped_mm` of torch 2.13 takes matrices of this dtype, device and shape.

    Rows must be aligned. Of the dtypes, the CPU takes CPU_DTYPES; accelerators have a kernel for
    bfloat16 alone (compute capability 8.0 or more), and only a loop for others.
    """
    aligned = all(size * weight_EOI.itemsize % ALIGNMENT == 0 for size in weight_EOI.shape[1:])
    dtypes = CPU_DTYPES if weight_EOI.device.type == "cpu" else (torch.bfloat16,)
    return aligned and weight_EOI.dtype in dtypes


def multiply_grouped(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply by `grouped_mm`; ends_E: where the rows of each expert end, int32; [R, O]."""
    return functional.grouped_mm(x_RI, weight_EOI.transpose(1, 2), offs=ends_E)


def multiply_in_a_loop(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply one expert after the other; as `multiply_grouped`."""
    parts = zip(x_RI.tensor_split(ends_E[:-1].tolist()), weight_EOI.unbind(), strict=True)
    return torch.cat([functional.linear(part, weight_OI) for part, weight_OI in parts])
