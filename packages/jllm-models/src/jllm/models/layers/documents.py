"""The bounds of the documents in a micro-batch.

A micro-batch is T flat tokens; attention never crosses a document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Documents:
    """The bounds of n documents in T flat tokens, on the host and on the device."""

    cu_seqlens: Tensor
    """int32 [n+1], from 0 to T, on the device."""
    lengths: tuple[int, ...]
    """Tokens of each document, on the host."""
    positions: Tensor
    """int64 [T], counted from 0 in every document, on the device."""
    max_length: int
    """Tokens of the longest document, those of `past` included."""
    past: int = 0
    """Number of earlier tokens of the only document, where these tokens continue it."""

    @classmethod
    def from_bounds(cls, bounds: Sequence[int], device: torch.device | str = "cpu") -> Self:
        """Make the value from bounds 0 < b1 < … < T; refuse other bounds."""
        host = torch.as_tensor(bounds, dtype=torch.int64)
        lengths = host.diff()
        if len(host) < 2 or host[0] != 0 or int(lengths.min()) < 1:
            shown = ", ".join(str(int(bound)) for bound in host[:8])
            raise ValueError(
                f"document bounds must rise strictly from 0 to the number of tokens, found {shown}"
                f"{', …' if len(host) > 8 else ''}; every document needs at least one token"
            )
        starts = torch.repeat_interleave(host[:-1], lengths)
        positions = torch.arange(int(host[-1])) - starts
        return cls(
            cu_seqlens=host.to(torch.int32).to(device),
            lengths=tuple(lengths.tolist()),
            positions=positions.to(device),
            max_length=int(lengths.max()),
        )

    @classmethod
    def continued(cls, past: int, tokens: int, device: torch.device | str = "cpu") -> Self:
        """Make the value of `tokens` tokens that continue a document after its first `past`."""
        assert past >= 0 and tokens > 0, (past, tokens)
        return cls(
            cu_seqlens=torch.tensor([0, tokens], dtype=torch.int32, device=device),
            lengths=(tokens,),
            positions=torch.arange(past, past + tokens, device=device),
            max_length=past + tokens,
            past=past,
        )
