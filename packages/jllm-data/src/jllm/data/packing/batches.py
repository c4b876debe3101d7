"""Batches of documents and of packed rows: flat arrays, no Python object per id.

Both classes hold everything in a few numpy arrays, so a work unit crosses a process boundary, and a
window of packed rows reaches the writer, without loops over documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jllm.data.format.schema import IGNORE_INDEX


@dataclass(frozen=True, kw_only=True)
class DocumentBatch:
    """N documents, concatenated.

    ids: int32 [Σ lengths]; lengths: int64 [N]; records: int64 [N], the number of the input record
    that each comes from; loss_mask: bool [Σ lengths], or None where every id is trained on
    (pre-training text); number: int32 [N], the numbers that identify RL prompts, or None.
    """

    ids: np.ndarray
    lengths: np.ndarray
    records: np.ndarray
    loss_mask: np.ndarray | None = None
    number: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def slice(self, start: int, stop: int) -> DocumentBatch:
        """Return the documents [start, stop), without copying."""
        ends = np.concatenate(([0], np.cumsum(self.lengths)))
        flat = slice(int(ends[start]), int(ends[stop]))
        loss_mask = None if self.loss_mask is None else self.loss_mask[flat]
        return DocumentBatch(
            ids=self.ids[flat],
            lengths=self.lengths[start:stop],
            records=self.records[start:stop],
            loss_mask=loss_mask,
            number=None if self.number is None else self.number[start:stop],
        )

    def take(self, order: np.ndarray) -> DocumentBatch:
        """Return the documents at the indices `order` (int [M], M ≥ 1); about 1 µs a document."""
        ends = np.cumsum(self.lengths)
        spans = list(zip((ends - self.lengths)[order].tolist(), ends[order].tolist(), strict=True))
        loss_mask = self.loss_mask
        return DocumentBatch(
            ids=np.concatenate([self.ids[start:end] for start, end in spans]),
            lengths=self.lengths[order],
            records=self.records[order],
            loss_mask=loss_mask
            if loss_mask is None
            else np.concatenate([loss_mask[start:end] for start, end in spans]),
        )


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """N finished rows, concatenated.

    ids: int32 [Σ row_lengths]; row_lengths: int64 [N]; bounds: int32, the rows' `cu_seqlens`,
    concatenated; bound_counts: int64 [N]; records: int64 [Σ (bound_counts − 1)], the input record
    that each segment comes from (−1: none, it only closes the row); labels: int32 like ids (−100
    where not trained), or None for pre-training rows; number: int32 [N], the numbers that identify
    RL prompts, or None.
    """

    ids: np.ndarray
    row_lengths: np.ndarray
    bounds: np.ndarray
    bound_counts: np.ndarray
    records: np.ndarray
    labels: np.ndarray | None = None
    number: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.row_lengths)

    def slice(self, start: int, stop: int) -> PackedRows:
        """Return the rows [start, stop), without copying."""
        flat = _span(self.row_lengths, start, stop)
        return PackedRows(
            ids=self.ids[flat],
            row_lengths=self.row_lengths[start:stop],
            bounds=self.bounds[_span(self.bound_counts, start, stop)],
            bound_counts=self.bound_counts[start:stop],
            records=self.records[_span(self.bound_counts - 1, start, stop)],
            labels=None if self.labels is None else self.labels[flat],
            number=None if self.number is None else self.number[start:stop],
        )


def join_documents(batches: Sequence[DocumentBatch]) -> DocumentBatch:
    """Return all documents of the batches in order; `loss_mask` in all of them or in none."""
    if len(batches) == 1:
        return batches[0]
    masks = [batch.loss_mask for batch in batches if batch.loss_mask is not None]
    assert len(masks) in (0, len(batches))
    return DocumentBatch(
        ids=np.concatenate([batch.ids for batch in batches]),
        lengths=np.concatenate([batch.lengths for batch in batches]),
        records=np.concatenate([batch.records for batch in batches]),
        loss_mask=np.concatenate(masks) if masks else None,
    )


def join_rows(blocks: Sequence[PackedRows]) -> PackedRows:
    """Return all rows of the blocks in order; `labels` and `number` in all of them or in none."""
    if len(blocks) == 1:
        return blocks[0]
    labels = [block.labels for block in blocks if block.labels is not None]
    numbers = [block.number for block in blocks if block.number is not None]
    assert len(labels) in (0, len(blocks)) and len(numbers) in (0, len(blocks))
    return PackedRows(
        ids=np.concatenate([block.ids for block in blocks]),
        row_lengths=np.concatenate([block.row_lengths for block in blocks]),
        bounds=np.concatenate([block.bounds for block in blocks]),
        bound_counts=np.concatenate([block.bound_counts for block in blocks]),
        records=np.concatenate([block.records for block in blocks]),
        labels=np.concatenate(labels) if labels else None,
        number=np.concatenate(numbers) if numbers else None,
    )


def labels_of(ids: np.ndarray, loss_mask: np.ndarray) -> np.ndarray:
    """Return the labels, int32: the id where trained on, else −100."""
    return np.where(loss_mask, ids, np.int32(IGNORE_INDEX))


def _span(lengths: np.ndarray, start: int, stop: int) -> slice:
    first = int(lengths[:start].sum())
    return slice(first, first + int(lengths[start:stop].sum()))
