"""The head's matrix multiplication and cross-entropy, chunk by chunk.

The logits never exist as a whole. For each chunk of trained tokens they are computed, turned into
probabilities in place, and multiplied into both gradients at once. Backward only scales the
gradients, in place, so autograd refuses to run it twice.
Memory: one chunk of fp32 logits and one fp32 gradient of the weight. Time: three matrix products
over the trained tokens alone. (The idea: arXiv:2411.09009, Liger-Kernel arXiv:2410.10989.)

Letters: T tokens, R trained tokens, C tokens of a chunk, D hidden_size, V vocabulary.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100
"""Target of a position that is not trained."""


def linear_cross_entropy(
    hidden_TD: Tensor, weight_VD: Tensor, targets_T: Tensor, chunk_tokens: int
) -> Tensor:
    """Return Σ −log softmax(hidden · weightᵀ)[target] over the trained tokens, an fp32 scalar.

    Softmax and sums are fp32 whatever the dtype of hidden and weight. Without a trained token the
    loss and the gradients are 0. Targets other than −100 must lie in [0, V), which is checked.
    """
    keep = torch.is_grad_enabled()
    needs = (keep and hidden_TD.requires_grad, keep and weight_VD.requires_grad)
    return _LinearCrossEntropy.apply(hidden_TD, weight_VD, targets_T, chunk_tokens, needs)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_TD: Tensor,
        weight_VD: Tensor,
        targets_T: Tensor,
        chunk_tokens: int,
        needs: tuple[bool, bool],
    ) -> Tensor:
        rows_R = (targets_T != IGNORED).nonzero().squeeze(1)
        trained = len(rows_R)
        targets_R = targets_T[rows_R]
        _check_targets(targets_R, weight_VD.shape[0])
        hidden_RD = hidden_TD if trained == len(targets_T) else hidden_TD[rows_R]
        grad_RD = torch.empty_like(hidden_RD) if needs[0] else None
        grad_VD = _fresh_total(weight_VD, trained) if needs[1] else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden_TD.device)
        chunks = math.ceil(trained / chunk_tokens)
        buffer = _logit_buffer(hidden_RD, weight_VD, math.ceil(trained / max(chunks, 1)))
        for chunk in range(chunks):
            part = slice(trained * chunk // chunks, trained * (chunk + 1) // chunks)
            hidden_CD, targets_C1 = hidden_RD[part], targets_R[part, None]
            logits_CV = _logits(hidden_CD, weight_VD, buffer)
            log_probs_CV = torch.log_softmax(logits_CV, dim=-1, out=logits_CV)
            loss -= log_probs_CV.gather(1, targets_C1).sum()
            if grad_RD is None and grad_VD is None:
                continue
            grad_CV = log_probs_CV.exp_()
            grad_CV.scatter_add_(1, targets_C1, grad_CV.new_full(targets_C1.shape, -1.0))
            grad_CV = grad_CV.to(weight_VD.dtype)
            if grad_RD is not None:
                torch.mm(grad_CV, weight_VD, out=grad_RD[part])
            if grad_VD is not None:
                _add_product(grad_VD, grad_CV.t(), hidden_CD, first=chunk == 0)
        ctx.save_for_backward(rows_R, grad_RD, grad_VD)
        ctx.tokens, ctx.weight_dtype = len(targets_T), weight_VD.dtype
        return loss

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        rows_R, grad_RD, grad_VD = ctx.saved_tensors
        grad_hidden = grad_weight = None
        if grad_RD is not None:
            grad_hidden = grad_RD.mul_(grad)
            if len(rows_R) != ctx.tokens:
                whole = grad_hidden.new_zeros(ctx.tokens, grad_RD.shape[1])
                grad_hidden = whole.index_copy_(0, rows_R, grad_hidden)
        if grad_VD is not None:
            grad_weight = grad_VD.mul_(grad).to(ctx.weight_dtype)
        return grad_hidden, grad_weight, None, None, None


def _check_targets(targets_R: Tensor, vocabulary: int) -> None:
    """Refuse a target that is no row of the head, which on a GPU would read out of bounds."""
    if len(targets_R) == 0:
        return
    low, high = (int(value) for value in targets_R.aminmax())
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"target {low if low < 0 else high} is outside the vocabulary of {vocabulary}: "
            "the data were made with another tokenizer than the model's"
        )


def _logit_buffer(hidden_RD: Tensor, weight_VD: Tensor, tokens: int) -> Tensor:
    """Allocate the logits of one chunk once, for all chunks."""
    return torch.empty(tokens, len(weight_VD), dtype=torch.float32, device=hidden_RD.device)


def _logits(hidden_CD: Tensor, weight_VD: Tensor, buffer: Tensor) -> Tensor:
    """Return fp32 logits [C, V] in the buffer."""
    out_CV = buffer[: len(hidden_CD)]
    if weight_VD.dtype == torch.float32:
        return torch.mm(hidden_CD, weight_VD.t(), out=out_CV)
    return out_CV.copy_(torch.mm(hidden_CD, weight_VD.t()))


def _fresh_total(weight_VD: Tensor, trained: int) -> Tensor:
    """Allocate the fp32 gradient of the weight; zeros only where no chunk will write it."""
    allocate = torch.empty_like if trained else torch.zeros_like
    return allocate(weight_VD, dtype=torch.float32)


def _add_product(total_VD: Tensor, left_VC: Tensor, right_CD: Tensor, *, first: bool) -> None:
    """Add a matrix product to an fp32 total, or overwrite the total with the first."""
    if left_VC.dtype == torch.float32:
        total_VD.addmm_(left_VC, right_CD, beta=0 if first else 1)
    elif first:
        total_VD.copy_(torch.mm(left_VC, right_CD))
    else:
        total_VD.add_(torch.mm(left_VC, right_CD))
