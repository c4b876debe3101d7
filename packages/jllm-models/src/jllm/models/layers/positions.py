"""The effect of positions on attention, computed once per micro-batch for all layers of a stage.

Rotary embedding rotates queries and keys. ALiBi (arXiv:2108.12409) adds a bias that decreases
linearly with distance, with a slope per head. Log-n scaling lengthens the queries that see more
tokens than the model was trained on.

Letters: T tokens, H query heads, L tokens of the longest document.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.layers.documents import Documents
from jllm.models.layers.rotary import Rotary, rotary_tables


@dataclass(frozen=True, kw_only=True, eq=False)
class Positions:
    """The position tables of a model's attention units; None for those that it does not use."""

    rotary: Rotary | None = None
    """Angles of queries and keys."""
    bias_HLL: Tensor | None = None
    """Bias of the score of a query (row) and a key (column), by their positions in a document;
    without the rows of past tokens."""
    query_scale_T11: Tensor | None = None
    """Factor of each token's query."""


def position_tables(
    config: DecoderConfig, documents: Documents, dtype: torch.dtype, *, training: bool
) -> Positions:
    """Compute the tables of a micro-batch in fp32, then round them to `dtype`.

    The values of a document depend only on its own length. ALiBi takes H·L² elements.
    """
    if config.rope is None:
        device = documents.positions.device
        past = documents.past
        bias_HLL = alibi_bias(config.num_heads, documents.max_length, device, first=past)
        return Positions(bias_HLL=bias_HLL.to(dtype))
    rope, scale = config.rope, None
    if training and rope.outside_training:
        rope = replace(rope, type="default")
    if not training and config.log_n_length is not None:
        scale = log_n_scale(config.log_n_length, documents).to(dtype)
    rotary = rotary_tables(rope, config.rotary_dim, documents, dtype)
    return Positions(rotary=rotary, query_scale_T11=scale)


def alibi_slopes(heads: int) -> tuple[float, ...]:
    """Return the slope of each head: 2^(−8i/heads) where heads is a power of two.

    Otherwise the slopes of the next lower power of two, then every second of the next higher.
    """
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * i / power) for i in range(1, power + 1)]
    between = [2 ** (-8 * i / (2 * power)) for i in range(1, 2 * power + 1, 2)]
    return tuple(slopes + between[: heads - power])


def alibi_bias(
    heads: int, length: int, device: torch.device | str = "cpu", *, first: int = 0
) -> Tensor:
    """Return −slope · distance, −∞ for later keys; fp32 [H, L, L], without rows before `first`."""
    at_L = torch.arange(length, device=device)
    ahead_LL = at_L[None, :] - at_L[first:, None]
    slopes_H = torch.tensor(alibi_slopes(heads), device=device)
    bias_HLL = slopes_H[:, None, None] * ahead_LL
    return bias_HLL.masked_fill_(ahead_LL > 0, -torch.inf)


def log_n_scale(known: int, documents: Documents) -> Tensor:
    """Return log n / log known for queries that see n > known tokens, else 1; fp32 [T, 1, 1]."""
    seen_T = (documents.positions + 1).clamp(min=known).double()
    return (seen_T.log() / math.log(known)).float()[:, None, None]
