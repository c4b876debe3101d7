"""The experts' SwiGLU over rows that are sorted by expert.

Each expert's rows are multiplied by its matrix in one of two ways. A plain loop is the reference;
it reads the counts back from the device. `torch.nn.functional.grouped_mm` is a single kernel
without that from compute capability 9.0 on. Elsewhere torch loops inside it (8.x, and the CPU,
where both give the same bits and it is several times faster with many experts).

Letters: R rows, E experts, D hidden_size, F width inside an expert, I and O any widths.
"""

import torch
from torch import Tensor
from torch.nn import functional

from jllm.models.layers.activation import swiglu

ALIGNMENT = 16
"""Alignment, in bytes, of the rows of a grouped product's operands."""
CPU_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Dtypes that `grouped_mm` supports on the CPU."""


def compute_experts(
    x_RD: Tensor, gate_up_E2FD: Tensor, down_EDF: Tensor, counts_E: Tensor
) -> Tensor:
    """Return down(silu(gate(x)) · up(x)) of each row, by its own expert; x [R, D] in and out.

    counts_E: rows of each expert, int64; an expert without rows has gradients of zero.
    """
    ends_E = counts_E.cumsum(0, dtype=torch.int32)
    return multiply(swiglu(multiply(x_RD, gate_up_E2FD, ends_E)), down_EDF, ends_E)


def multiply(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply each expert's rows by its matrix, grouped where that runs; [R, O]."""
    multiply = multiply_grouped if runs_grouped(weight_EOI) else multiply_in_a_loop
    return multiply(x_RI, weight_EOI, ends_E)


def runs_grouped(weight_EOI: Tensor) -> bool:
    """Return whether `grouped_mm` of torch 2.13 supports matrices of this dtype, device and shape.

    Rows must be aligned. The CPU supports CPU_DTYPES. Accelerators have a kernel only for bfloat16
    (compute capability 8.0 or more), and a loop for other dtypes.
    """
    aligned = all(size * weight_EOI.itemsize % ALIGNMENT == 0 for size in weight_EOI.shape[1:])
    dtypes = CPU_DTYPES if weight_EOI.device.type == "cpu" else (torch.bfloat16,)
    return aligned and weight_EOI.dtype in dtypes


def multiply_grouped(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply with `grouped_mm`; ends_E: the end of each expert's rows, int32; [R, O]."""
    return functional.grouped_mm(x_RI, weight_EOI.transpose(1, 2), offs=ends_E)


def multiply_in_a_loop(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply one expert after the other; arguments as in `multiply_grouped`."""
    parts = zip(x_RI.tensor_split(ends_E[:-1].tolist()), weight_EOI.unbind(), strict=True)
    return torch.cat([functional.linear(part, weight_OI) for part, weight_OI in parts])
