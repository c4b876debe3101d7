"""Attention on flat tokens, by name; one file a back end, all equal to `sdpa` in result."""

from typing import Protocol

from torch import Tensor

from jllm.models.layers.attention_backends.sdpa import attend as sdpa
from jllm.models.layers.documents import Documents


class Attend(Protocol):
    """Causal attention within each document; H is a multiple of G."""

    def __call__(
        self,
        q_THK: Tensor,
        k_TGK: Tensor,
        v_TGK: Tensor,
        documents: Documents,
        *,
        window: int | None = None,
        bias_HLL: Tensor | None = None,
        scale: float | None = None,
    ) -> Tensor:
        """Return [T, H, K] of the dtype given; values may be of another width, [T, H, V] then.

        window: tokens that a query sees, itself one of them; None: its document so far.
        bias_HLL: added to the scores of query and key by their positions, −∞ where the key comes
            later; as long as the longest document at least. Not together with a window.
        scale: what scores are multiplied with; None: 1/sqrt(K).
        """
        ...


BACKENDS: dict[str, Attend] = {"sdpa": sdpa}


def attention_backend(name: str) -> Attend:
    """Return the back end of that name; refuse a name that is none."""
    if name not in BACKENDS:
        raise ValueError(f"unknown attention back end {name!r}; known: {', '.join(BACKENDS)}")
    return BACKENDS[name]
