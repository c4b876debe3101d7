"""A pipeline stage made from any differentiable callable.

It keeps what the backward needs, and only until then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge


@dataclass(frozen=True, kw_only=True, slots=True)
class _Live:
    """The state of one micro-batch between forward and backward.

    Of the outputs it keeps the edges of the graph, not the values: the next stage holds those.
    """

    inputs: tuple[Tensor, ...]
    edges: tuple[GradientEdge | None, ...]
    ones: tuple[Tensor, ...]


class ModuleStage:
    """Adapts `call(inputs, micro_batch) -> outputs` to the executor's `PipelineStage`.

    Autograd accumulates the gradients of parameters. Floating-point inputs get a gradient. The
    backward of the last stage receives no gradients, so the outputs of that stage have to be
    scalars: the losses, already scaled.
    """

    def __init__(self, call: Callable[[tuple[Tensor, ...], int], tuple[Tensor, ...]]) -> None:
        """`call` is usually a closure over an `nn.Module` and the step's micro-batches."""
        self._call = call
        self._live: dict[int, _Live] = {}

    def forward(self, micro_batch: int, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See `PipelineStage.forward`. Keeps nothing under `torch.no_grad`."""
        if not torch.is_grad_enabled():
            return self._call(inputs, micro_batch)
        leaves = tuple(x.detach().requires_grad_(x.is_floating_point()) for x in inputs)
        outputs = self._call(leaves, micro_batch)
        self._live[micro_batch] = _Live(
            inputs=leaves,
            edges=tuple(get_gradient_edge(y) if y.requires_grad else None for y in outputs),
            ones=tuple(torch.ones_like(y) for y in outputs if y.ndim == 0),
        )
        return tuple(y.detach() for y in outputs)

    def backward(
        self, micro_batch: int, output_gradients: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        """See `PipelineStage.backward`. An input on which no output depends gets zeros."""
        live = self._live.pop(micro_batch)
        pairs = zip(live.edges, output_gradients or live.ones, strict=True)
        roots = [(edge, g) for edge, g in pairs if edge is not None and g is not None]
        if roots:
            torch.autograd.backward([edge for edge, _ in roots], [g for _, g in roots])
        return tuple(_gradient(x) for x in live.inputs)


def _gradient(x: Tensor) -> Tensor | None:
    if not x.requires_grad:
        return None
    return x.grad if x.grad is not None else torch.zeros_like(x)
