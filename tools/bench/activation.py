"""Compare SwiGLU with the same computation in torch's own operators, forward and backward, on CPU.

    OMP_NUM_THREADS=1 python tools/bench/activation.py
    OMP_NUM_THREADS=2 python tools/bench/activation.py --dtype bfloat16

Our results are bitwise independent of an element's position (`jllm.models.layers.activation`). Each
round runs both, one after the other. Prints medians over rounds, alone and between an MLP's two
products. Measures processor time with one thread, wall time with several.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Literal

import torch
import tyro
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from jllm.models.layers.activation import swiglu


def plain(gate_up_T2F: Tensor) -> Tensor:
    """Return silu(gate) · up with torch's operators."""
    gate_TF, up_TF = gate_up_T2F.chunk(2, dim=-1)
    return functional.silu(gate_TF) * up_TF


def main(
    *,
    tokens: int = 2048,
    hidden: int = 576,
    inner: int = 1536,
    rounds: int = 15,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Print the two times and their ratio."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        return values.to(getattr(torch, dtype)).requires_grad_()

    x_TD, wide_T2F = drawn(tokens, hidden), drawn(tokens, 2 * inner)
    up_2FD, down_DF = drawn(2 * inner, hidden), drawn(hidden, inner)

    def alone(way: Callable[[Tensor], Tensor]) -> Tensor:
        return way(wide_T2F)

    def between(way: Callable[[Tensor], Tensor]) -> Tensor:
        return functional.linear(way(functional.linear(x_TD, up_2FD)), down_DF)

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for name, place in (("alone", alone), ("between products", between)):
        times: dict[Callable[[Tensor], Tensor], list[float]] = {swiglu: [], plain: []}
        for number in range(rounds + 1):
            for way, found in times.items():
                start = clock()
                y = place(way)
                y.backward(torch.ones_like(y))
                if number:  # the first warms up
                    found.append(clock() - start)
        ours, theirs = median(times[swiglu]), median(times[plain])
        line = f"{name}: {ours * 1e3:.1f} ms, torch {theirs * 1e3:.1f} ms, {ours / theirs:.2f}"
        Console().print(line)


if __name__ == "__main__":
    tyro.cli(main)
