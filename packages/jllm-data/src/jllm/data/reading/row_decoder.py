"""One row group's columns as training rows: checked once as a whole, then one row at a time.

There are four forms of rows (ids ≤ max_len; positions = ids − 1, the last id is only a target):

    input_ids, cu_seqlens          stacked text: targets are the next ids, −100 between documents
    input_ids, labels, cu_seqlens  packed chats: targets are the next labels, −100 between documents
    input_ids, labels              one chat a row
    input_ids                      one document a row, all of it trained

In text whose metadata names a document-end id, nothing is predicted from that id. The rest of the L
= max_len − 1 positions is one closing document without targets. The columns stay as Arrow decoded
them (4 bytes per id and column, not copied); a row costs about ten numpy calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jllm.data.format.arrow_numpy import to_numpy
from jllm.data.format.schema import CU_SEQLENS, IGNORE_INDEX, INPUT_IDS, LABELS


@dataclass(frozen=True, kw_only=True)
class Ragged:
    """A list column: row i is values[offsets[i]:offsets[i + 1]]."""

    values: np.ndarray
    """int32 [total]"""
    offsets: np.ndarray
    """int64 [rows + 1], from 0."""

    @property
    def lengths(self) -> np.ndarray:
        """int64 [rows]"""
        return np.diff(self.offsets)

    def row(self, index: int) -> np.ndarray:
        """Return a view of one row."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def row_of(self, position: int) -> int:
        """Return the row that holds values[position]."""
        return int(np.searchsorted(self.offsets, position, side="right")) - 1


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """The decoded rows of one row group. Build it with `decode_rows`, which checks them."""

    max_len: int
    document_end_id: int | None
    """The id that pads a row (0 where None)."""
    ids: Ragged
    labels: Ragged | None
    cu_seqlens: Ragged | None

    def write(self, index: int, tokens_L: np.ndarray, targets_L: np.ndarray) -> np.ndarray:
        """Write row `index` to two int32 [L] arrays; return its document bounds, int32, 0…L."""
        ids = self.ids.row(index)
        used = len(ids) - 1
        tokens_L[:used] = ids[:-1]
        if self.labels is not None:
            targets_L[:used] = self.labels.row(index)[1:]
        else:
            targets_L[:used] = ids[1:]
            if self.document_end_id is not None:
                targets_L[:used][ids[:-1] == self.document_end_id] = IGNORE_INDEX
        if self.cu_seqlens is None:
            bounds = np.array([0, used], dtype=np.int32)
        else:
            bounds = self.cu_seqlens.row(index).copy()
            targets_L[bounds[1:-1] - 1] = IGNORE_INDEX
        if used == len(tokens_L):
            return bounds
        fill_padding(tokens_L[used:], targets_L[used:], self.document_end_id)
        return np.append(bounds, np.int32(len(tokens_L)))


def fill_padding(tokens: np.ndarray, targets: np.ndarray, document_end_id: int | None) -> None:
    """Fill int32 arrays with a padding document, which has no targets."""
    tokens[:] = 0 if document_end_id is None else document_end_id
    targets[:] = IGNORE_INDEX


def decode_rows(
    columns: Mapping[str, pa.ChunkedArray],
    *,
    max_len: int,
    document_end_id: int | None,
    where: str,
    prompts: bool = False,
) -> TrainingRows:
    """Check the list<int32> columns of one row group and return its rows.

    `prompts`: rows are RL prompts, and `labels` holds the number of each. `where` (file and row
    group) begins every message. Raises ValueError, with the row, its content and the expected one,
    for nulls, wrong lengths, negative ids, labels that are not the ids at their own place, bounds
    that do not rise from 0 to len(input_ids) − 1.
    """
    lists = {name: ragged(column, f"{where}, {name}") for name, column in columns.items()}
    ids, labels = lists[INPUT_IDS], lists.get(LABELS)
    cu_seqlens = lists.get(CU_SEQLENS)
    check_ids(ids, 1 if prompts else 2, max_len, where)
    if prompts:
        check_numbers(labels, where)
    elif labels is not None:
        check_labels(ids, labels, where)
    if cu_seqlens is not None:
        check_bounds(ids, cu_seqlens, where)
    return TrainingRows(
        max_len=max_len, document_end_id=document_end_id, ids=ids, labels=labels,
        cu_seqlens=cu_seqlens,
    )  # fmt: skip


def ragged(column: pa.ChunkedArray, where: str) -> Ragged:
    """Return a list column of integers as arrays. Raises ValueError for nulls."""
    chunks = column.chunks or [pa.array([], column.type)]
    lists = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)  # which always copies
    if lists.null_count:
        row = int(np.flatnonzero(lists.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"{where}: row {row} is null, expected a list of int32")
    offsets = to_numpy(lists.offsets).astype(np.int64)
    values = lists.values[int(offsets[0]) : int(offsets[-1])]
    if values.null_count:
        null = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        row = int(np.searchsorted(offsets - offsets[0], null, side="right")) - 1
        raise ValueError(f"{where}: row {row} holds a null, expected int32")
    return Ragged(values=to_numpy(values), offsets=offsets - offsets[0])


def check_ids(ids: Ragged, least: int, max_len: int, where: str) -> None:
    """Raise ValueError for a row of fewer than `least` or over max_len ids, or a negative id."""
    lengths = ids.lengths
    wrong = (lengths < least) | (lengths > max_len)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{where}, row {row}: input_ids has {lengths[row]} ids, expected {least} to max_len = "
            f"{max_len} (max_len of the info file)"
        )
    if len(ids.values) and ids.values.min() < 0:
        position = int(np.argmin(ids.values))
        raise ValueError(
            f"{where}, row {ids.row_of(position)}: input_ids holds {ids.values[position]}, "
            "expected token ids (0 or more)"
        )


def check_numbers(labels: Ragged | None, where: str) -> None:
    """Raise ValueError for an RL prompt without exactly one number."""
    if labels is None or (labels.lengths != 1).any():
        row = 0 if labels is None else int(np.argmax(labels.lengths != 1))
        raise ValueError(
            f"{where}, row {row}: an RL prompt needs one entry of labels, its number: convert "
            "the prompts again"
        )


def check_labels(ids: Ragged, labels: Ragged, where: str) -> None:
    """Raise ValueError for a label that is neither −100 nor the id at its place."""
    if not np.array_equal(labels.offsets, ids.offsets):
        row = int(np.argmax(labels.lengths != ids.lengths))
        raise ValueError(
            f"{where}, row {row}: labels has {labels.lengths[row]} entries, input_ids "
            f"{ids.lengths[row]}: expected one label an id (RL prompts are converted by raw2ids)"
        )
    wrong = (labels.values != ids.values) & (labels.values != IGNORE_INDEX)
    if wrong.any():
        position = int(np.argmax(wrong))
        row = labels.row_of(position)
        raise ValueError(
            f"{where}, row {row}: labels[{position - labels.offsets[row]}] is "
            f"{labels.values[position]}, expected the id there ({ids.values[position]}) or "
            f"{IGNORE_INDEX}: labels stand at the place of their own id, not one before"
        )


def check_bounds(ids: Ragged, cu_seqlens: Ragged, where: str) -> None:
    """Raise ValueError for bounds that do not rise strictly from 0 to the row's positions."""
    values, offsets = cu_seqlens.values, cu_seqlens.offsets
    wrong = cu_seqlens.lengths < 2
    if not wrong.any():
        wrong = (values[offsets[:-1]] != 0) | (values[offsets[1:] - 1] != ids.lengths - 1)
        falls = np.diff(values) <= 0
        falls[offsets[1:-1] - 1] = False  # from one row to the next
        for position in np.flatnonzero(falls)[:1]:
            wrong[cu_seqlens.row_of(int(position))] = True
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{where}, row {row}: cu_seqlens is {_short(cu_seqlens.row(row))}, expected strictly "
            f"increasing bounds from 0 to len(input_ids) − 1 = {ids.lengths[row] - 1}"
        )


def _short(values: np.ndarray) -> str:
    text = ", ".join(str(value) for value in values[:6])
    return f"[{text}{f', … {values[-1]}' if len(values) > 6 else ''}]"
