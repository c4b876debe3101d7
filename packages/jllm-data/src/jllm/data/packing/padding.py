"""Padding of rows to max_len ids; padding is not trained."""

from __future__ import annotations

import numpy as np

from jllm.data.format.schema import NO_RECORD
from jllm.data.packing.batches import PackedRows


def pad_rows(rows: PackedRows, max_len: int, filler: int) -> PackedRows:
    """Pad rows to `max_len` ids by a closing document of `filler` that is not trained.

    A single missing id is added to the last document (a document has at least two ids).
    """
    missing = max_len - rows.row_lengths
    ends = np.cumsum(rows.row_lengths)
    closing = missing >= 2
    bound_ends = np.cumsum(rows.bound_counts)
    bounds = rows.bounds.copy()
    bounds[bound_ends - 1] += np.where(closing, 1, missing).astype(np.int32)
    bounds = np.insert(bounds, bound_ends[closing], np.int32(max_len - 1))
    labels = rows.labels
    if labels is not None:
        labels = np.insert(labels, np.repeat(ends, missing), np.int32(-100))
    return PackedRows(
        ids=np.insert(rows.ids, np.repeat(ends, missing), np.int32(filler)),
        row_lengths=rows.row_lengths + missing,
        bounds=bounds,
        bound_counts=rows.bound_counts + closing,
        records=np.insert(rows.records, np.cumsum(rows.bound_counts - 1)[closing], NO_RECORD),
        labels=labels,
    )
