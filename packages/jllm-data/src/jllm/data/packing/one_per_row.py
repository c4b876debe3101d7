"""RL prompts: one per row, in the order of the input, never packed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jllm.data.packing.batches import DocumentBatch, PackedRows


class PromptRows:
    """A packer that turns each document with a number into one row."""

    def add(self, documents: DocumentBatch) -> Iterator[PackedRows]:
        """Take prompts; yield a row for each."""
        ends = np.stack((np.zeros_like(documents.lengths), documents.lengths - 1), 1)
        yield PackedRows(
            ids=documents.ids,
            row_lengths=documents.lengths,
            bounds=ends.reshape(-1).astype(np.int32),
            bound_counts=np.full(len(documents), 2, np.int64),
            records=documents.records,
            number=documents.number,
        )

    def finish(self) -> Iterator[PackedRows]:
        """Yield nothing: no prompt is held back."""
        yield from ()
