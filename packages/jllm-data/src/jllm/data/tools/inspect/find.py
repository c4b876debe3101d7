"""Find the documents that contain a text: an exact search over all decoded documents.

Whole documents are decoded, so token boundaries inside the text do not matter. If a stacked
document continues in the next row, matches across the two are found as well
(`cross_row_matches.py`). Memory: one row group a thread and its text. With a byte-level tokenizer
about 7 million ids/s a thread, including reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from jllm.data.reading.dataset import Dataset
from jllm.data.reading.row_decoder import TrainingRows
from jllm.data.tools.inspect.cross_row_matches import Joiner, RowEdges, edges_of, occurrences
from jllm.data.tools.inspect.documents import Documents, documents_of
from jllm.data.tools.inspect.map_row_groups import map_groups
from jllm.data.tools.inspect.provenance import Origins, Provenance
from jllm.data.tools.inspect.token_text import TokenText

BORDER = 0xFF
"""Separator between two documents' bytes: never in UTF-8, so no match spans it."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One document that contains the text."""

    group: int
    """Number of the row group in the data set."""
    row: int
    """Number of the row in the row group."""
    document: int
    """Number of the document in the row, from 0."""
    source: str
    """Empty if the data set does not state it; then `record` is None."""
    record: int | None
    count: int
    """Number of matches, overlapping ones included."""
    before: bool = False
    """The match begins in the previous row and ends in this one."""


def find_text(
    dataset: Dataset, wanted: str, text: TokenText, progress: Callable[[int], None] = lambda n: None
) -> Iterator[Hit]:
    """Yield the documents that contain `wanted`, in the order of the data set.

    `progress` is called with the number of rows of each finished row group. Raises ValueError for
    an empty text and for a damaged file.
    """
    if not wanted:
        raise ValueError("--find: the text is empty")
    joiner, origins = Joiner(wanted, text), Origins(dataset)
    prompts = dataset.kind == "rl"

    def search(number: int, rows: TrainingRows) -> tuple[list[Hit], list[RowEdges]]:
        provenance, documents = origins.read(number), documents_of(rows, prompts=prompts)
        held = np.where(documents.closing, 0, _counts(rows, documents, wanted, text))
        hits = [_hit(number, documents, d, provenance, int(held[d]))
                for d in np.flatnonzero(held).tolist()]  # fmt: skip
        return hits, edges_of(rows, documents, provenance, joiner.keep)

    for number, (hits, edges) in map_groups(dataset, search, range(len(dataset.row_groups))):
        for row, edge in enumerate(edges):
            count, doubled = joiner.across(edge)
            if doubled:
                hits = [fewer for hit in hits if (fewer := _without(hit, row, doubled)).count]
            if count:
                hits.append(
                    Hit(group=number, row=row, document=0, source=edge.source,
                        record=edge.first_record, count=count, before=True)
                )  # fmt: skip
        yield from sorted(hits, key=lambda hit: (hit.row, hit.document, not hit.before))
        progress(dataset.row_groups[number].rows)


def _without(hit: Hit, row: int, doubled: int) -> Hit:
    """Return a hit without the matches that the previous row holds too."""
    first = hit.row == row and hit.document == 0
    return replace(hit, count=hit.count - doubled) if first else hit


def _counts(rows: TrainingRows, documents: Documents, wanted: str, text: TokenText) -> np.ndarray:
    """Return the number of matches in each document, int64 [documents]."""
    if text.table is None:
        ids = rows.ids.values
        spans = zip(documents.start.tolist(), documents.length.tolist(), strict=True)
        texts = [text.text(ids[start : start + length]) for start, length in spans]
        found = [len(occurrences(one.encode(), wanted.encode())) for one in texts]
        return np.array(found, np.int64)
    data, starts = text.table.join(rows.ids.values)
    edges = starts[documents.start]
    joined = np.insert(data, edges, BORDER).tobytes()
    places = np.array(occurrences(joined, wanted.encode()), np.int64)
    begins = edges + np.arange(len(edges))
    found = np.searchsorted(begins, places, side="right") - 1
    return np.bincount(found, minlength=len(edges))


def _hit(
    number: int, documents: Documents, document: int, provenance: Provenance | None, count: int
) -> Hit:
    row = int(documents.row[document])
    of_row = documents.of_row(row)
    inside = document - of_row[0]
    return Hit(
        group=number,
        row=row,
        document=inside,
        source="" if provenance is None else provenance.source[row],
        record=None if provenance is None else provenance.of_row(row, len(of_row))[inside],
        count=count,
    )
