"""Repeating and sorting tokens by expert, so that each expert's rows are contiguous.

The gradient of a token is the sum over its experts in the order of its routing, without atomic
additions, so its bits are the same on every device and with any number of threads.

Letters: T tokens, A experts of a token, R = T·A rows, E experts, D hidden_size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, kw_only=True, eq=False)
class Permutation:
    """The sources of the experts' rows: row r is choice `order_R[r]` of all T·A choices."""

    order_R: Tensor
    """Indices of the T·A choices, sorted by expert and within an expert by token; int64 [R]."""
    places_TA: Tensor
    """The row of each choice, the inverse of `order_R`; int64 [T, A]."""
    counts_E: Tensor
    """Number of rows of each expert; int64 [E]."""


def permutation(experts_TA: Tensor, num_experts: int) -> Permutation:
    """Sort the choices of all tokens by expert; int64 experts [T, A]."""
    sorted_R, order_R = experts_TA.flatten().sort(stable=True)
    places_R = torch.empty_like(order_R)
    places_R[order_R] = torch.arange(len(order_R), device=order_R.device)
    numbers_E = torch.arange(num_experts, device=order_R.device)
    ends_E = torch.searchsorted(sorted_R, numbers_E, right=True)
    counts_E = ends_E.diff(prepend=ends_E.new_zeros(1))
    return Permutation(order_R=order_R, places_TA=places_R.view_as(experts_TA), counts_E=counts_E)


def permute(x_TD: Tensor, sorting: Permutation) -> Tensor:
    """Return the rows of all experts, one expert after the other; x [T, D] to [R, D]."""
    return _Permute.apply(x_TD, sorting.order_R, sorting.places_TA)


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, order_R: Tensor, places_TA: Tensor) -> Tensor:
        ctx.save_for_backward(places_TA)
        return x_TD[order_R // places_TA.shape[1]]

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad_RD: Tensor) -> tuple[Tensor, None, None]:
        (places_TA,) = ctx.saved_tensors
        total_TD = grad_RD[places_TA[:, 0]].float()
        for places_T in places_TA[:, 1:].unbind(1):
            total_TD += grad_RD[places_T]
        return total_TD.to(grad_RD.dtype), None, None
