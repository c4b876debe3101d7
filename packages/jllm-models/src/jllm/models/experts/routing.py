"""Routing: the experts of each token, and their weights.

Scores are probabilities, or sigmoids to which a bias is added for the choice (arXiv:2408.15664,
arXiv:2412.19437 §2.1.2). A token's experts may be limited to a few groups of experts
(arXiv:2405.04434 §2.2.2).

Letters: T tokens, E experts, A experts of a token, G groups, M members of a group.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from jllm.models.layers.activation import sigmoid

NO_ZERO = 1e-20
"""Epsilon that is added to a divisor; it changes no sum but 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Routing:
    """The experts of every token, in the order of their choice."""

    experts_TA: Tensor
    """Indices of the experts; int64 [T, A]."""
    weights_TA: Tensor
    """Factor of each expert's result; [T, A] in the dtype of the logits."""


def route(
    logits_TE: Tensor,
    experts_per_token: int,
    *,
    renormalise: bool,
    scoring: str = "softmax",
    bias_E: Tensor | None = None,
    groups: int = 1,
    groups_per_token: int = 1,
    group_best: int = 1,
    scale: float = 1.0,
) -> Routing:
    """Choose the experts of largest score, in fp32; the options are fields of `ExpertsConfig`.

    bias_E: fp32, added to the scores only for the choice. Ties are broken by `torch.topk`, as in
    Transformers: equal scores always choose the same experts. Gradients flow only through the
    weights.
    """
    scores_TE = _scores(logits_TE, scoring)
    choice_TE = scores_TE.detach() if bias_E is None else scores_TE.detach() + bias_E
    if groups_per_token < groups:
        choice_TE = _within_groups(choice_TE, groups, groups_per_token, group_best)
    experts_TA = choice_TE.topk(experts_per_token, dim=-1).indices
    weights_TA = scores_TE.gather(1, experts_TA)
    if renormalise:
        weights_TA = weights_TA / (weights_TA.sum(dim=-1, keepdim=True) + NO_ZERO)
    weights_TA = weights_TA * scale
    return Routing(experts_TA=experts_TA, weights_TA=weights_TA.to(logits_TE.dtype))


def _scores(logits_TE: Tensor, scoring: str) -> Tensor:
    """Return the experts' scores, fp32."""
    if scoring == "sigmoid":
        return sigmoid(logits_TE.float())
    assert scoring == "softmax", scoring
    return torch.softmax(logits_TE, dim=-1, dtype=torch.float32)


def _within_groups(choice_TE: Tensor, groups: int, kept: int, best: int) -> Tensor:
    """Return the scores with −∞ for experts outside the groups that a token keeps."""
    choice_TGM = choice_TE.unflatten(-1, (groups, -1))
    group_scores_TG = choice_TGM.topk(best, dim=-1).values.sum(dim=-1)
    outside_TG = torch.ones_like(group_scores_TG, dtype=torch.bool)
    outside_TG.scatter_(1, group_scores_TG.topk(kept, dim=-1).indices, False)
    return choice_TGM.masked_fill(outside_TG[:, :, None], -torch.inf).flatten(1)
