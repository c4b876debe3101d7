"""One global batch as one process needs it."""

import dataclasses

import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """T = micro_batch_size × (max_len − 1) positions in one row, on the host."""

    bounds: tuple[int, ...]
    """Document bounds, from 0 to T."""
    counted: tuple[bool, ...]
    """Of each document, whether any of its targets is trained: what fills up a row, and whatever
    else teaches nothing, has no part in the balance of experts."""
    tokens: torch.Tensor | None
    """int32 [T] on the first stage, and on the last where it asks for them."""
    targets: torch.Tensor | None
    """int32 [T] on the last stage; -100 where nothing is trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepShape:
    """Sizes of one replica's part of a global batch."""

    micro_batches: int
    rows: int
    """Rows of a micro-batch."""
    length: int
    """Positions of a row."""

    @property
    def tokens(self) -> int:
        """Positions of a micro-batch."""
        return self.rows * self.length


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepData:
    """What one process needs of one global batch."""

    trained_tokens: int
    """Targets of the *global* batch, over all replicas."""
    counted_tokens: int
    """Positions of its documents that count."""
    counted_rows: int
    """Its rows with a document that counts."""
    length: int
    """Positions of a row."""
    micro_batches: tuple[MicroBatch, ...]
