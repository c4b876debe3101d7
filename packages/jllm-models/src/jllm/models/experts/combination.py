"""The weighted sum of the results of a token's experts.

The sum is in fp32, over the experts in the order of the token's routing. Its bits are therefore the
same wherever the rows were computed, on every device and with any number of threads.

Letters: T tokens, A experts of a token, R = T·A rows, D hidden_size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jllm.models.experts.permutation import Permutation


def combine(y_RD: Tensor, weights_TA: Tensor, sorting: Permutation) -> Tensor:
    """Return Σ weight · row over each token's experts; rows as permuted [R, D] to [T, D]."""
    return _Combine.apply(y_RD, weights_TA, sorting.order_R, sorting.places_TA)


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, y_RD: Tensor, weights_TA: Tensor, order_R: Tensor, places_TA: Tensor
    ) -> Tensor:
        ctx.save_for_backward(y_RD, weights_TA, order_R, places_TA)
        total_TD = y_RD.new_zeros((len(places_TA), y_RD.shape[1]), dtype=torch.float32)
        for places_T, weights_T in zip(places_TA.unbind(1), weights_TA.unbind(1), strict=True):
            total_TD += y_RD[places_T].float() * weights_T.float()[:, None]
        return total_TD.to(y_RD.dtype)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, Tensor, None, None]:
        y_RD, weights_TA, order_R, places_TA = ctx.saved_tensors
        grad_RD = grad_TD[order_R // places_TA.shape[1]].float()
        grad_weights_R = (grad_RD * y_RD).sum(-1)
        grad_weights_TA = grad_weights_R[places_TA].to(weights_TA.dtype)
        weights_R1 = weights_TA.flatten()[order_R, None].float()
        return (grad_RD * weights_R1).to(y_RD.dtype), grad_weights_TA, None, None
