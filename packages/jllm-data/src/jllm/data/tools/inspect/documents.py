"""The documents of decoded rows, and which ids are trained, as a training reader sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jllm.data.format.schema import IGNORE_INDEX
from jllm.data.reading.row_decoder import TrainingRows


@dataclass(frozen=True, kw_only=True)
class Documents:
    """The D documents (or pieces of them) of N rows, in order; together they hold all ids."""

    row: np.ndarray
    """int64 [D]: the row of each."""
    start: np.ndarray
    """int64 [D]: the start of each in `rows.ids.values`."""
    length: np.ndarray
    """int64 [D]: number of ids."""
    closing: np.ndarray
    """bool [D]: consists only of document-end ids that complete a row."""

    def of_row(self, row: int) -> range:
        """Return the numbers of a row's documents."""
        first, stop = np.searchsorted(self.row, (row, row + 1)).tolist()
        return range(first, stop)


def documents_of(rows: TrainingRows, *, prompts: bool = False) -> Documents:
    """Split rows into documents at their bounds; the last one extends to the row's end.

    `prompts`: the rows are RL prompts, whose labels are their numbers.
    """
    total, offsets = len(rows.ids.values), rows.ids.offsets
    numbers = np.arange(len(offsets) - 1)
    if rows.cu_seqlens is None:
        row, start = numbers, offsets[:-1]
    else:
        bounds = rows.cu_seqlens
        begins = np.ones(len(bounds.values), bool)
        begins[bounds.offsets[1:] - 1] = False
        row = np.repeat(numbers, bounds.lengths - 1)
        start = offsets[row] + bounds.values[begins]
    length = np.diff(start, append=total)
    closing = np.zeros(len(start), bool)
    if rows.document_end_id is not None and len(start) and not prompts:
        other = rows.ids.values != rows.document_end_id
        if rows.labels is not None:
            other |= rows.labels.values != IGNORE_INDEX
        closing = ~np.logical_or.reduceat(other, start)
    return Documents(row=row, start=start, length=length, closing=closing)


def trained_ids(rows: TrainingRows, documents: Documents, *, prompts: bool = False) -> np.ndarray:
    """Return which ids are targets of a position, bool [Σ ids]; a document's first never is."""
    ids = rows.ids.values
    if prompts:
        return np.zeros(len(ids), bool)
    if rows.labels is not None:
        trained = rows.labels.values != IGNORE_INDEX
    else:
        trained = np.ones(len(ids), bool)
        if rows.document_end_id is not None:
            trained[1:] = ids[:-1] != rows.document_end_id
    trained[documents.start] = False
    return trained
