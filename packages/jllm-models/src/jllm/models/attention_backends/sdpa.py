"""The reference back end: torch's scaled_dot_product_attention, document by document.

Runs on every device. Costs Σ length² rather than T²; neighbours of equal length share one call.
Letters: T tokens, H query heads, G key/value heads, K head_dim, B documents, L their length.
"""

from collections.abc import Iterator
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from jllm.models.documents import Documents


def attend(q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor, documents: Documents) -> Tensor:
    """Causal attention within each document; [T, H, K]."""
    groups = list(_equal_neighbours(documents.lengths))
    if len(groups) == 1:
        return _attend_equal(q_THK, k_TGK, v_TGK, groups[0][0])
    sizes = [length * count for length, count in groups]
    parts = zip(q_THK.split(sizes), k_TGK.split(sizes), v_TGK.split(sizes), groups, strict=True)
    return torch.cat([_attend_equal(q, k, v, length) for q, k, v, (length, _) in parts])


def _equal_neighbours(lengths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Give (length, how many documents of it follow each other)."""
    for length, run in groupby(lengths):
        yield length, sum(1 for _ in run)


def _attend_equal(q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor, length: int) -> Tensor:
    """Attend in documents that all have `length` tokens."""
    q_BHLK, k_BGLK, v_BGLK = (
        x.unflatten(0, (-1, length)).transpose(1, 2) for x in (q_THK, k_TGK, v_TGK)
    )
    out_BHLK = functional.scaled_dot_product_attention(
        q_BHLK, k_BGLK, v_BGLK, is_causal=True, enable_gqa=q_THK.shape[1] != k_TGK.shape[1]
    )
    return out_BHLK.transpose(1, 2).flatten(0, 1)
