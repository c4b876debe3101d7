"""Attention on flat tokens, by name; one file per back end, all with the results of `sdpa`."""

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
        """Return [T, H, K] in the dtype of the inputs, or [T, H, V] for values of another width.

        window: number of tokens that a query sees, itself included; None is its document so far.
        bias_HLL: added to the scores of query and key by their positions, −∞ where the key comes
            later; at least as long as the longest document. Not together with a window.
        scale: factor of the scores; None is 1/sqrt(K).
        """
        ...


BACKENDS: dict[str, Attend] = {"sdpa": sdpa}


def attention_backend(name: str) -> Attend:
    """Return the back end of that name; refuse an unknown name."""
    if name not in BACKENDS:
        raise ValueError(f"unknown attention back end {name!r}; known: {', '.join(BACKENDS)}")
    return BACKENDS[name]
