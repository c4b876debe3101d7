"""Modules with an adapter, and putting them into a stage.

The adapted matrix keeps its name and its storage; A and B are parameters beside it. There is no
dropout: a run is a function of data, seed and step, and peft refuses dropout on experts too.

Letters: T tokens, R rows of all experts, I inputs, O outputs, N adapted tensors, E experts.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from jllm.models.decoder.stage import Stage
from jllm.models.experts.computation import multiply
from jllm.models.experts.moe import Experts
from jllm.models.layers.activation import swiglu
from jllm.models.layers.linear import Linear
from jllm.models.lora.settings import Lora
from jllm.models.lora.table import AdaptedMatrix, AdaptedRows, adapted_matrices


class LoraLinear(Linear):
    """x · weightᵀ + bias, with scale · x · Aᵀ · Bᵀ added to the adapted columns."""

    def __init__(self, base: Linear, matrix: AdaptedMatrix, lora: Lora):
        nn.Module.__init__(self)
        self.weight, self.bias = base.weight, base.bias
        self.rank, self.scale = lora.rank, lora.scale
        self.parts = matrix.parts
        place = {"dtype": base.weight.dtype, "device": base.weight.device}
        count = len(matrix.parts)
        self.lora_A = nn.Parameter(torch.empty(count * lora.rank, matrix.inputs, **place))
        self.lora_B = nn.Parameter(torch.empty(matrix.rows, lora.rank, **place))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply x [T, I] to [T, O]."""
        y_TO = super().forward(x)
        inner_TN = functional.linear(x, self.lora_A) * self.scale
        return self.add_products(y_TO, inner_TN, self.lora_B, self.parts, functional.linear)

    def matrix(self) -> Tensor:
        """Return the sum of weight and adapter, [out, in]; costs as much memory as the weight."""
        sum_OI = self.weight.clone()
        for number, part in enumerate(self.parts):
            a_RI = self.lora_A[number * self.rank : (number + 1) * self.rank]
            b_OR = self.lora_B[part.offset : part.offset + part.stop - part.start]
            sum_OI[part.start : part.stop].addmm_(b_OR, a_RI, alpha=self.scale)
        return sum_OI

    def add_products(
        self,
        y: Tensor,
        inner: Tensor,
        outer: Tensor,
        parts: tuple[AdaptedRows, ...],
        product: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Add product(inner, outer) of each part to its own columns of y, in place.

        inner: scale · x · Aᵀ, `rank` columns per part. It is scaled there, because these columns
        are few, and because in bfloat16 on the CPU the bits of an addition that scales depend on
        the place of the element. outer: B; the parts divide its next to last dimension.
        """
        for number, part in enumerate(parts):
            mine = inner[:, number * self.rank : (number + 1) * self.rank]
            rows = outer[..., part.offset : part.offset + part.stop - part.start, :]
            y[:, part.start : part.stop].add_(product(mine, rows))
        return y


class LoraExperts(Experts):
    """Routed experts whose gate and up, or down, or all three have an adapter per expert."""

    def __init__(self, base: Experts):
        nn.Module.__init__(self)
        self.count, self.gate_up, self.down = base.count, base.gate_up, base.down

    def forward(self, x_RD: Tensor, counts_E: Tensor) -> Tensor:
        """Transform rows that are sorted by expert; x [R, D] in and out."""
        ends_E = counts_E.cumsum(0, dtype=torch.int32)
        inner_RF = swiglu(self._multiply(self.gate_up, x_RD, ends_E))
        return self._multiply(self.down, inner_RF, ends_E)

    def _multiply(self, linear: Linear, x_RI: Tensor, ends_E: Tensor) -> Tensor:
        """Multiply each expert's rows by its matrix and its adapter; [R, O]."""

        def by_expert(parameter: Tensor) -> Tensor:
            return parameter.unflatten(0, (self.count, -1))

        y_RO = multiply(x_RI, by_expert(linear.weight), ends_E)
        if not isinstance(linear, LoraLinear):
            return y_RO
        assert len(linear.parts) % self.count == 0, "some of the experts alone"
        inner_RN = multiply(x_RI, by_expert(linear.lora_A), ends_E) * linear.scale
        return linear.add_products(
            y_RO,
            inner_RN,
            by_expert(linear.lora_B),
            linear.parts[: len(linear.parts) // self.count],
            lambda inner, outer: multiply(inner, outer, ends_E),
        )


def attach_(stage: Stage, lora: Lora, *, freeze: bool) -> None:
    """Put uninitialised adapters into a stage; freeze: no other parameter needs a gradient."""
    if freeze:
        stage.requires_grad_(False)
    for matrix in adapted_matrices(stage.config, stage.unit_range, lora):
        path, _, name = matrix.module.rpartition(".")
        parent = stage.get_submodule(path)
        base = parent.get_submodule(name)
        assert isinstance(base, Linear), matrix.module
        parent.set_submodule(name, LoraLinear(base, matrix, lora))
        if type(parent) is Experts:
            stage.set_submodule(path, LoraExperts(parent))
