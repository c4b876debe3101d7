"""Find text that spans the cut of a stacked document, across two rows or more.

Stacked rows overlap by one id. The record numbers kept in the data set tell whether a row continues
the document of the previous row. Holds only as many ids as the text has bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jllm.data.reading.row_decoder import TrainingRows
from jllm.data.tools.inspect.documents import Documents
from jllm.data.tools.inspect.provenance import Provenance
from jllm.data.tools.inspect.token_text import TokenText


@dataclass(frozen=True, kw_only=True)
class RowEdges:
    """The two ends of one row."""

    source: str
    first_record: int | None
    head: np.ndarray
    """int32: the row's first ids, within its first document."""
    last_record: int | None
    tail: np.ndarray
    """int32: the row's last ids, within its last document."""
    whole: bool
    """The row holds a single document, or a piece of one."""


def edges_of(
    rows: TrainingRows, documents: Documents, provenance: Provenance | None, keep: int
) -> list[RowEdges]:
    """Return the ends of every row, `keep` ids each; none if documents never continue in another
    row.
    """
    if provenance is None or rows.labels is not None:
        return []
    edges = []
    for row in range(len(rows.ids.offsets) - 1):
        of_row = documents.of_row(row)
        records = provenance.of_row(row, len(of_row))
        ids, last = rows.ids.row(row), int(documents.length[of_row[-1]])
        edges.append(
            RowEdges(
                source=provenance.source[row],
                first_record=records[0],
                head=ids[: min(keep, int(documents.length[of_row[0]]))],
                last_record=records[-1],
                tail=ids[-min(keep, last) :],
                whole=len(of_row) == 1,
            )
        )
    return edges


class Joiner:
    """Searcher across row borders; takes the rows of a data set in order."""

    def __init__(self, wanted: str, text: TokenText) -> None:
        self._wanted, self._text = wanted.encode(), text
        self.keep = len(self._wanted) + 1
        """Number of ids; each is at least one byte."""
        self._before: tuple[str, int | None] = ("", None)
        self._tail = np.zeros(0, np.int32)

    def across(self, row: RowEdges) -> tuple[int, int]:
        """Return how often the text begins in a row before `row` and ends in `row`, and how often
        it is whole in both, which happens if the id that they share contains it.
        """
        goes_on = (
            row.first_record is not None
            and self._before == (row.source, row.first_record)
            and self._tail[-1] == row.head[0]
        )
        crossing, doubled, tail = 0, 0, row.tail
        if goes_on:
            both = np.concatenate((self._tail, row.head[1:]))
            doubled = self._count(row.head[:1])
            inside = self._count(self._tail) + self._count(row.head) - doubled
            crossing = self._count(both) - inside
            if row.whole and len(row.head) == len(row.tail) < self.keep:
                tail = both[-self.keep :]
        self._before, self._tail = (row.source, row.last_record), tail
        return crossing, doubled

    def _count(self, ids: np.ndarray) -> int:
        return len(occurrences(self._text.text(ids).encode(), self._wanted))


def occurrences(data: bytes, wanted: bytes) -> list[int]:
    """Return every place at which `wanted` occurs in `data`, overlapping ones included."""
    places, at = [], data.find(wanted)
    while at >= 0:
        places.append(at)
        at = data.find(wanted, at + 1)
    return places
