"""The reference back end: torch's scaled_dot_product_attention, document by document.

Runs on every device. Costs Σ length² rather than T²; adjacent documents of equal length share one
call. A document longer than the window is cut into blocks of the window's length, each of which
attends to at most two windows of keys: Σ 2 · length · window, and a mask of 2 · window² elements.

Letters: T tokens, H query heads, G key/value heads, K head_dim, B documents, L their length.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from jllm.models.layers.documents import Documents


def attend(
    q_THK: Tensor,
    k_TGK: Tensor,
    v_TGK: Tensor,
    documents: Documents,
    *,
    window: int | None = None,
    bias_HLL: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attend causally within each document; [T, H, V]. Options as in `Attend`."""
    assert window is None or bias_HLL is None
    assert documents.past == 0, "what came before is not here; see jllm.models.generation.cache"
    groups = list(_equal_neighbours(documents.lengths))
    if len(groups) == 1:
        return _attend_equal(q_THK, k_TGK, v_TGK, groups[0][0], window, bias_HLL, scale)
    sizes = [length * count for length, count in groups]
    parts = zip(q_THK.split(sizes), k_TGK.split(sizes), v_TGK.split(sizes), groups, strict=True)
    return torch.cat(
        [_attend_equal(q, k, v, length, window, bias_HLL, scale) for q, k, v, (length, _) in parts]
    )


def _equal_neighbours(lengths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield (length, number of adjacent documents of that length)."""
    for length, run in groupby(lengths):
        yield length, sum(1 for _ in run)


def _attend_equal(
    q_THK: Tensor,
    k_TGK: Tensor,
    v_TGK: Tensor,
    length: int,
    window: int | None,
    bias_HLL: Tensor | None,
    scale: float | None,
) -> Tensor:
    """Attend in documents that all have `length` tokens."""
    narrow = q_THK.shape[-1] - v_TGK.shape[-1]
    if narrow > 0:  # the kernels that keep no scores need equal widths
        v_TGK = functional.pad(v_TGK, (0, narrow))
    q_BHLK, k_BGLK, v_BGLK = (
        x.unflatten(0, (-1, length)).transpose(1, 2) for x in (q_THK, k_TGK, v_TGK)
    )
    if window is not None and length > window:
        out_BHLK = _attend_window(q_BHLK, k_BGLK, v_BGLK, window, scale)
    else:
        bias = None if bias_HLL is None else bias_HLL[None, :, :length, :length]
        out_BHLK = functional.scaled_dot_product_attention(
            q_BHLK,
            k_BGLK,
            v_BGLK,
            attn_mask=bias,
            is_causal=bias is None,
            scale=scale,
            enable_gqa=q_THK.shape[1] != k_TGK.shape[1],
        )
    out_THK = out_BHLK.transpose(1, 2).flatten(0, 1)
    return out_THK[..., :-narrow] if narrow > 0 else out_THK


def _attend_window(
    q_BHLK: Tensor, k_BGLK: Tensor, v_BGLK: Tensor, window: int, scale: float | None
) -> Tensor:
    """Attend with queries that see `window` tokens, block by block."""
    length = q_BHLK.shape[2]
    band = _band(window, q_BHLK.dtype, q_BHLK.device)
    blocks = []
    for start in range(0, length, window):
        stop = min(start + window, length)
        keys = slice(max(start - window, 0), stop)
        blocks.append(
            functional.scaled_dot_product_attention(
                q_BHLK[:, :, start:stop],
                k_BGLK[:, :, keys],
                v_BGLK[:, :, keys],
                attn_mask=band[: stop - start, : window + stop - start] if start else None,
                is_causal=start == 0,
                scale=scale,
                enable_gqa=q_BHLK.shape[1] != k_BGLK.shape[1],
            )
        )
    return torch.cat(blocks, dim=2)


@lru_cache(maxsize=2)
@torch.inference_mode(False)  # a later backward must be able to save a mask made in inference
def _band(window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the mask of a block's queries and the keys of the block before and itself; [W, 2W].

    It is 0 where a query sees a key, else −∞. All blocks of all layers share one tensor, because
    each call keeps its mask for backward. Do not modify it.
    """
    at_W = torch.arange(window, device=device)
    behind = window + at_W[:, None] - torch.arange(2 * window, device=device)
    unseen = (behind < 0) | (behind >= window)
    return torch.zeros(unseen.shape, dtype=dtype, device=device).masked_fill_(unseen, -torch.inf)
