"""Balancing the experts: two losses on the router's logits, the counts of its choices, its bias.

auxiliary loss   α · Σ_e f_e · P_e of a layer, where P_e is the mean probability of expert e and f_e
                 its share of the choices, times E, so that even use gives α (arXiv:2101.03961; by
                 sequence, and with sigmoids, as in DeepSeek-V3, arXiv:2412.19437, §2.1.2)
z-loss           β · mean (log Σ_e exp logit_e)², which keeps logits small (arXiv:2202.08906)

Their gradients are added at the router, in the backward pass of the layer's output, so no values
have to be sent to the head through the pipeline. The choices are counted there too: once per
micro-batch, recomputed or not, and never in evaluation. A layer without gradients, below the lowest
adapter of a frozen model, has no backward pass and is not recomputed, so it counts in the forward
pass.

All means are over the *global* step, whose sizes are known before it begins. Nothing thus depends
on how a step is divided into micro-batches and replicas.

Letters: T tokens, S sequences of L tokens in them, E experts, A experts of a token, D hidden_size.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jllm.models.experts.routing import NO_ZERO
from jllm.models.layers.activation import sigmoid

Scope = Literal["sequence", "global"]


@dataclass(frozen=True, kw_only=True)
class BalanceLoss:
    """The weights of the losses; 0 switches one off."""

    alpha: float = 0.0
    """Factor of the auxiliary loss of each layer."""
    scope: Scope = "sequence"
    """Tokens of the shares f. `sequence`: f of each sequence by itself, and the mean of their
    losses. `global`: f of all tokens of the step before, even in the first step; f has no gradient
    anyway."""
    z_alpha: float = 0.0
    """Factor of the z-loss of each layer."""
    backward_scale: float = 1.0
    """Factor of the gradients of both losses, but not of their values."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BalanceTerms:
    """The inputs of the losses of one micro-batch."""

    loss: BalanceLoss
    counted_T: Tensor
    """The tokens that count; bool [T] on the device. Others are in no loss and no count."""
    length: int
    """Tokens of a sequence, L; divides T."""
    tokens: int
    """Number of tokens that count in the global step."""
    sequences: int
    """Number of sequences in the global step with a token that counts."""


class Tally:
    """The counts of a layer since the start of the step, on its device."""

    def __init__(self, experts: int, device: torch.device | str):
        self.before_E = torch.ones(experts, dtype=torch.int64, device=device)
        """Loads of the step before, for the `global` scope; even in the first step."""
        self.loads_E = torch.zeros(experts, dtype=torch.int64, device=device)
        """How often tokens that count chose each expert."""
        self.losses_2 = torch.zeros(2, dtype=torch.float64, device=device)
        """Values of the auxiliary loss and of the z-loss, factors included."""

    def begin(self) -> None:
        """Reset the counts and values for a new step."""
        self.loads_E.zero_()
        self.losses_2.zero_()


def balanced(
    y_TD: Tensor,
    logits_TE: Tensor,
    experts_TA: Tensor,
    scoring: str,
    terms: BalanceTerms,
    tally: Tally,
) -> Tensor:
    """Return y_TD, whose backward pass counts and adds the losses' gradients to `logits_TE`.

    y_TD: the whole output of the router's layer, which needs a gradient if anything there does.
    experts_TA: the choices, int64. scoring: as in `ExpertsConfig`.
    """
    if not torch.is_grad_enabled():
        return y_TD
    if not y_TD.requires_grad:
        _count_and_differentiate(logits_TE, experts_TA, scoring, terms, tally)
        return y_TD
    return _Balanced.apply(y_TD, logits_TE, experts_TA, scoring, terms, tally)


class _Balanced(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y_TD: Tensor,
        logits_TE: Tensor,
        experts_TA: Tensor,
        scoring: str,
        terms: BalanceTerms,
        tally: Tally,
    ) -> Tensor:
        ctx.save_for_backward(logits_TE, experts_TA)
        ctx.scoring, ctx.terms, ctx.tally = scoring, terms, tally
        return y_TD.view_as(y_TD)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        logits_TE, experts_TA = ctx.saved_tensors
        settings = (ctx.scoring, ctx.terms, ctx.tally)
        grad_TE = _count_and_differentiate(logits_TE, experts_TA, *settings)
        return grad_TD, grad_TE, None, None, None, None


def _count_and_differentiate(
    logits_TE: Tensor, experts_TA: Tensor, scoring: str, terms: BalanceTerms, tally: Tally
) -> Tensor:
    """Add a micro-batch to the tally; return the losses' gradient, in the dtype of the logits."""
    counts_SE = count(experts_TA, logits_TE.shape[1], terms)
    tally.loads_E += counts_SE.sum(0)
    weights_TE = auxiliary_weights(counts_SE, experts_TA.shape[1], terms, tally.before_E)
    wide_TE = logits_TE.float()
    auxiliary, grad_TE = auxiliary_loss(wide_TE, weights_TE, scoring)
    z, grad_z_TE = z_loss(wide_TE, terms)
    tally.losses_2 += torch.stack((auxiliary, z))
    grad_TE += grad_z_TE
    grad_TE *= terms.loss.backward_scale
    return grad_TE.to(logits_TE.dtype)


def moved_bias(bias_E: Tensor, loads_E: Tensor, rate: float) -> Tensor:
    """Return the router's bias after a step: `rate` up for loads below the mean, down above it.

    As in arXiv:2408.15664, algorithm 1; a load equal to the mean changes nothing. fp32 and int64
    [E], on one device.
    """
    below_E = (loads_E.sum() - len(loads_E) * loads_E).sign()
    return bias_E + rate * below_E.to(bias_E.dtype)


def count(experts_TA: Tensor, experts: int, terms: BalanceTerms) -> Tensor:
    """Return how often each sequence's tokens that count chose each expert; int64 [S, E]."""
    chosen_TE = torch.zeros(
        len(experts_TA), experts, dtype=torch.bool, device=experts_TA.device
    ).scatter_(1, experts_TA, terms.counted_T[:, None].expand_as(experts_TA))
    return chosen_TE.unflatten(0, (-1, terms.length)).sum(1)


def auxiliary_weights(
    counts_SE: Tensor, per_token: int, terms: BalanceTerms, before_E: Tensor
) -> Tensor:
    """Return the weights of each token's probabilities in the auxiliary loss; fp32 [T, E].

    That loss is Σ weight · probability over all tokens of the global step. The weights are 0 for
    tokens that do not count.
    """
    loss, experts = terms.loss, counts_SE.shape[1]
    if loss.scope == "sequence":
        tokens_S1 = terms.counted_T.view(-1, terms.length).sum(1, keepdim=True)
        scale = loss.alpha * experts / (per_token * terms.sequences)
        weights_SE = scale * counts_SE.double() / tokens_S1.clamp(min=1).square()
    else:
        shares_E = before_E.double() / before_E.sum().clamp(min=1)
        weights_SE = (loss.alpha * experts / terms.tokens * shares_E).expand_as(counts_SE)
    weights_TE = weights_SE.float().repeat_interleave(terms.length, 0)
    return weights_TE * terms.counted_T[:, None]


def auxiliary_loss(logits_TE: Tensor, weights_TE: Tensor, scoring: str) -> tuple[Tensor, Tensor]:
    """Return Σ weight · probability, a float64 scalar, and its gradient, fp32 [T, E].

    The probabilities are, in fp32, the softmax of the logits, or sigmoids divided by their sum.
    """
    if scoring == "sigmoid":
        scores_TE = sigmoid(logits_TE)
        probabilities_TE = scores_TE / (scores_TE.sum(-1, keepdim=True) + NO_ZERO)
    else:
        assert scoring == "softmax", scoring
        scores_TE, probabilities_TE = None, logits_TE.softmax(-1)
    weighted_TE = probabilities_TE * weights_TE
    grad_TE = weighted_TE - probabilities_TE * weighted_TE.sum(-1, keepdim=True)
    if scores_TE is not None:
        grad_TE *= 1 - scores_TE
    return weighted_TE.sum(dtype=torch.float64), grad_TE


def z_loss(logits_TE: Tensor, terms: BalanceTerms) -> tuple[Tensor, Tensor]:
    """Return the z-loss of fp32 logits, a float64 scalar, and its gradient, fp32 [T, E]."""
    normaliser_T1 = logits_TE.logsumexp(-1, keepdim=True)
    scale_T1 = terms.counted_T[:, None] * (terms.loss.z_alpha / terms.tokens)
    grad_TE = 2 * scale_T1 * normaliser_T1 * (logits_TE - normaliser_T1).exp()
    return (scale_T1 * normaliser_T1.double().square()).sum(), grad_TE
