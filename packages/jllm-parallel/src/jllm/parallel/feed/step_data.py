"""The part of a global batch that one process needs."""

import dataclasses

import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """A micro-batch of T = micro_batch_size × (max_len − 1) positions in one row, on the host."""

    bounds: tuple[int, ...]
    """Document bounds, from 0 to T."""
    counted: tuple[bool, ...]
    """For each document, whether any of its targets is trained. Padding and other documents without
    a trained target have no part in the balance of experts."""
    tokens: torch.Tensor | None
    """int32 [T] on the first stage, and on the last where it asks for them; else None."""
    targets: torch.Tensor | None
    """int32 [T] on the last stage, else None; -100 where nothing is trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepShape:
    """Sizes of a replica's part of a global batch."""

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
    """The part of a global batch that one process needs."""

    trained_tokens: int
    """Trained targets of the *global* batch, over all replicas."""
    counted_tokens: int
    """Positions of the global batch in documents that count."""
    counted_rows: int
    """Rows of the global batch with a document that counts."""
    length: int
    """Positions of a row."""
    micro_batches: tuple[MicroBatch, ...]
