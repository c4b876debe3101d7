"""Which experts each token goes to, and how much each of them counts.

Letters: T tokens, E experts, A experts of a token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Routing:
    """The experts of every token, the most probable first."""

    experts_TA: Tensor
    """Numbers of the experts; int64 [T, A]."""
    weights_TA: Tensor
    """What each expert's result is multiplied with; [T, A] in the dtype of the logits."""


def route(logits_TE: Tensor, experts_per_token: int, *, renormalise: bool) -> Routing:
    """Choose the experts of largest probability: softmax over all experts, in fp32.

    renormalise: the chosen probabilities are divided by their sum. Ties go where `torch.topk` puts
    them, as in Transformers: the same numbers always to the same experts. Gradients flow through
    the weights alone.
    """
    probabilities_TE = torch.softmax(logits_TE, dim=-1, dtype=torch.float32)
    weights_TA, experts_TA = probabilities_TE.topk(experts_per_token, dim=-1)
    if renormalise:
        weights_TA = weights_TA / weights_TA.sum(dim=-1, keepdim=True)
    return Routing(experts_TA=experts_TA, weights_TA=weights_TA.to(logits_TE.dtype))
