"""Stacking: documents concatenated and cut into rows of exactly max_len ids.

Rows overlap by one id (the last target of a row is the first input of the next), so no target is
lost. The exception is a document that ends exactly at a row's last id: nothing is predicted from a
document's end, so the next row starts with the next document. The last row is completed by a
closing segment of document-end ids. `cu_seqlens` goes from 0 to max_len − 1, strictly increasing.
Pure numpy, with one step of Python per row; needs memory for one work unit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jllm.data.format.schema import NO_RECORD
from jllm.data.packing.batches import DocumentBatch, PackedRows


class Stacker:
    """Cuts documents (each ending in `document_end_id`) into rows of exactly `max_len` ids."""

    def __init__(self, max_len: int, document_end_id: int) -> None:
        assert max_len >= 2
        self._max_len = max_len
        self._document_end_id = document_end_id
        self._ids = np.zeros(0, np.int32)
        self._starts = np.zeros(0, np.int64)
        """The starts of documents, ascending; the first may lie before the held ids (below 0)."""
        self._records = np.zeros(0, np.int64)
        """The records of these documents."""

    def add(self, documents: DocumentBatch) -> Iterator[PackedRows]:
        """Take documents; yield the rows that are complete, if any."""
        starts = len(self._ids) + np.cumsum(documents.lengths) - documents.lengths
        self._ids = np.concatenate((self._ids, documents.ids))
        self._starts = np.concatenate((self._starts, starts))
        self._records = np.concatenate((self._records, documents.records))
        yield from self._cut(len(self._ids))

    def finish(self) -> Iterator[PackedRows]:
        """Yield the last row, completed; nothing where no id is left."""
        left = len(self._ids)
        if not left:
            return
        missing = self._max_len - left
        assert left >= 2 and missing > 0
        end = np.full(missing, self._document_end_id, np.int32)
        self._ids = np.concatenate((self._ids, end))
        self._starts = np.append(self._starts, left)
        self._records = np.append(self._records, NO_RECORD)
        yield from self._cut(left)

    def _cut(self, available: int) -> Iterator[PackedRows]:
        """Yield complete rows; a row that ends with a document does not overlap the next.

        Only the next id tells whether it does, so a row waits for that id, unless the ids end with
        a document end (as they always do between two calls of `add`).
        """
        row_starts, at, total, starts = [], 0, len(self._ids), set(self._starts.tolist())
        while at + self._max_len <= total:
            row_starts.append(at)
            next_at = at + self._max_len
            at = next_at if next_at >= available or next_at in starts else next_at - 1
        if row_starts:
            yield self._rows(np.array(row_starts))
        first = max(0, int(np.searchsorted(self._starts, at, "right")) - 1)
        self._ids, self._starts = self._ids[at:], self._starts[first:] - at
        self._records = self._records[first:]

    def _rows(self, row_starts: np.ndarray) -> PackedRows:
        positions = self._max_len - 1
        document_starts = self._starts
        first = np.searchsorted(document_starts, row_starts, "right")
        stop = np.searchsorted(document_starts, row_starts + positions, "left")
        interior = stop - first
        counts = interior + 2
        row_ends = np.cumsum(counts)
        bounds = np.zeros(int(row_ends[-1]), np.int64)
        inner = np.ones(len(bounds), bool)
        inner[row_ends - counts] = False
        inner[row_ends - 1] = False
        bounds[row_ends - 1] = positions
        which = np.arange(int(interior.sum())) + np.repeat(
            first - (np.cumsum(interior) - interior), interior
        )
        bounds[inner] = document_starts[which] - np.repeat(row_starts, interior)
        segment_starts = (bounds + np.repeat(row_starts, counts))[
            np.delete(np.arange(len(bounds)), row_ends - 1)
        ]
        return PackedRows(
            ids=np.concatenate([self._ids[at : at + self._max_len] for at in row_starts.tolist()]),
            row_lengths=np.full(len(row_starts), self._max_len, np.int64),
            bounds=bounds.astype(np.int32),
            bound_counts=counts,
            records=self._records[np.searchsorted(document_starts, segment_starts, "right") - 1],
        )
