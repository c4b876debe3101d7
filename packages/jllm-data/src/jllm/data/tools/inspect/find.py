"""Which documents hold a text: an exact search over all decoded documents.

A text is found wherever token borders fall in it, for whole documents are decoded. Where a stacked
document goes on in the next row, the text is found across the two as well (`cross_row_matches.py`).
Memory: one row group a thread and its text. With a byte-level tokenizer some 7 million ids/s a
thread, reading included.
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
"""Between two documents' bytes: never in UTF-8, so no text is found across it."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One document that holds the text."""

    group: int
    """Number of the row group in the data set."""
    row: int
    """In the row group."""
    document: int
    """In the row, from 0."""
    source: str
    """Empty where the data set does not say, as `record` is None."""
    record: int | None
    count: int
    """How often, overlapping ones too."""
    before: bool = False
    """It begins in the row before and ends in this one."""


def find_text(
    dataset: Dataset, wanted: str, text: TokenText, progress: Callable[[int], None] = lambda n: None
) -> Iterator[Hit]:
    """Yield the documents that hold `wanted`, in the order of the data set.

    `progress` is called with the rows of every row group that is done. ValueError for an empty
    text, and for a damaged file.
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
    """Return a hit without what the row before holds too."""
    first = hit.row == row and hit.document == 0
    return replace(hit, count=hit.count - doubled) if first else hit


def _counts(rows: TrainingRows, documents: Documents, wanted: str, text: TokenText) -> np.ndarray:
    """Return how often each document holds the text, int64 [documents]."""
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
