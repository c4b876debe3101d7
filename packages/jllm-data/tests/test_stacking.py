"""Stacked rows: every target once, no zero-length segment, documents never mixed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.packing.batches import DocumentBatch, PackedRows
from jllm.data.packing.stacker import Stacker

END = 0
DOCUMENTS = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=30)


def batch_of(documents: list[list[int]], first: int = 0) -> DocumentBatch:
    """The documents, each closed by END and with its number, from `first`, as its record."""
    closed = [[*document, END] for document in documents]
    return DocumentBatch(
        ids=np.array([i for document in closed for i in document], np.int32),
        lengths=np.array([len(document) for document in closed], np.int64),
        records=np.arange(first, first + len(closed)),
    )


Row = tuple[list[int], list[int], list[int]]
"""(ids, cu_seqlens, records)"""


def rows_of(blocks: list[PackedRows]) -> list[Row]:
    """Each row of the blocks."""
    rows = []
    for block in blocks:
        ids = np.split(block.ids, np.cumsum(block.row_lengths)[:-1])
        bounds = np.split(block.bounds, np.cumsum(block.bound_counts)[:-1])
        records = np.split(block.records, np.cumsum(block.bound_counts - 1)[:-1])
        rows += [
            (i.tolist(), b.tolist(), r.tolist())
            for i, b, r in zip(ids, bounds, records, strict=True)
        ]
    return rows


def stacked_by_hand(documents: list[list[int]], max_len: int) -> list[Row]:
    """The same rows, an id at a time, from the rule in docs/data_format.md."""
    stream = [
        (i, place == 0, number)
        for number, d in enumerate(documents)
        for place, i in enumerate([*d, END])
    ]
    rows, at = [], 0
    while at < len(stream):
        row = stream[at : at + max_len]
        at += max_len if row[-1][0] == END else max_len - 1
        row += [(END, True, -1)] + [(END, False, -1)] * max_len
        starts = [place for place in range(1, max_len - 1) if row[place][1]]
        records = [row[place][2] for place in (0, *starts)]
        rows.append(([i for i, _, _ in row[:max_len]], [0, *starts, max_len - 1], records))
    return rows


@settings(max_examples=400, deadline=None)
@given(documents=DOCUMENTS, max_len=st.integers(2, 12), cut=st.integers(0, 30))
def test_rows_follow_the_written_rule(documents: list[list[int]], max_len: int, cut: int) -> None:
    stacker = Stacker(max_len, END)
    blocks = [block for part, first in ((documents[:cut], 0), (documents[cut:], cut)) if part
              for block in stacker.add(batch_of(part, first))]  # fmt: skip
    rows = rows_of([*blocks, *stacker.finish()])
    assert rows == stacked_by_hand(documents, max_len)
    for ids, bounds, _ in rows:
        assert len(ids) == max_len
        assert all(a < b for a, b in zip(bounds, bounds[1:], strict=False))


@settings(max_examples=200, deadline=None)
@given(documents=DOCUMENTS, max_len=st.integers(2, 12))
def test_every_target_of_every_document_is_there_once(
    documents: list[list[int]], max_len: int
) -> None:
    stacker = Stacker(max_len, END)
    rows = rows_of([*stacker.add(batch_of(documents)), *stacker.finish()])
    pairs = [(a, b) for ids, _, _ in rows for a, b in zip(ids, ids[1:], strict=False) if a != END]
    expected = [(a, b) for d in documents for a, b in zip(d, [*d[1:], END], strict=True)]
    assert pairs == expected


def test_a_document_that_ends_with_the_row_leaves_no_empty_segment() -> None:
    stacker = Stacker(4, END)
    rows = rows_of([*stacker.add(batch_of([[1, 2, 3], [4, 5, 6]])), *stacker.finish()])
    assert rows == [([1, 2, 3, END], [0, 3], [0]), ([4, 5, 6, END], [0, 3], [1])]
